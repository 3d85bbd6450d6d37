package graynacos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// ErrUnreachable is wrapped where Nacos didn't answer; the text is "nacos <addresses> can't be reached: <why>".
var ErrUnreachable = errors.New("can't be reached")

// ErrRefused is wrapped where Nacos answered and wouldn't do what it was asked; the text is "nacos <addresses> refused: <why>".
var ErrRefused = errors.New("refused")

// errNotAllowed stands for answers whose reason the stock client keeps to itself. The usual one is a missing right, and
// shortly after a server's start that it isn't ready.
var errNotAllowed = errors.New("no reason given; it may be starting, or want another " + graylib.EnvNacosUsername + " or " + graylib.EnvNacosPassword)

// ErrClosed is returned by what was closed.
var ErrClosed = errors.New("graynacos: closed")

// namingClient is what is used of the stock client for the registry.
type namingClient interface {
	RegisterInstance(vo.RegisterInstanceParam) (bool, error)
	DeregisterInstance(vo.DeregisterInstanceParam) (bool, error)
	Subscribe(*vo.SubscribeParam) error
	Unsubscribe(*vo.SubscribeParam) error
	GetService(vo.GetServiceParam) (model.Service, error)
	GetAllServicesInfo(vo.GetAllServiceInfoParam) (model.ServiceList, error)
	CloseClient()
}

// configClient is what is used of the stock client for the config centre.
type configClient interface {
	GetConfig(vo.ConfigParam) (string, error)
	PublishConfig(vo.ConfigParam) (bool, error)
	DeleteConfig(vo.ConfigParam) (bool, error)
	ListenConfig(vo.ConfigParam) error
	CancelListenConfig(vo.ConfigParam) error
	CloseClient()
}

// cluster is how to reach one Nacos.
type cluster struct {
	servers   []constant.ServerConfig
	namespace string
	username  string
	password  string
	timeout   time.Duration
}

// unreachable makes the error of a request without an answer. It is one line.
func (c *cluster) unreachable(err error) error {
	return fmt.Errorf("nacos %s %w: %s", c, ErrUnreachable, oneLine(err))
}

// failed makes the error of a request that failed: unreachable where there was no answer, else refused.
func (c *cluster) failed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed) {
		return c.unreachable(err)
	}
	for _, sign := range []string{"client not connected", "rpc error"} {
		if strings.Contains(err.Error(), sign) {
			return c.unreachable(err)
		}
	}
	return fmt.Errorf("nacos %s %w: %s", c, ErrRefused, oneLine(err))
}

// String returns the addresses as they were configured.
func (c *cluster) String() string {
	names := make([]string, 0, len(c.servers))
	for _, s := range c.servers {
		names = append(names, fmt.Sprintf("%s:%d", s.IpAddr, s.Port))
	}
	return strings.Join(names, ",")
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// noFolder is where nothing can be written or read.
var noFolder = filepath.Join(os.DevNull, "nacos")

// config makes the client's configuration. It gets no folder for its caches, which it would write to at every answer, also
// after it was closed: what an older run or another process left there hides what the server says, and
// GetConfig would fall back to it without a word. Its log goes to ours.
func (c *cluster) config() *constant.ClientConfig {
	return &constant.ClientConfig{
		NamespaceId:          c.namespace,
		Username:             c.username,
		Password:             c.password,
		TimeoutMs:            uint64(c.timeout.Milliseconds()),
		CacheDir:             noFolder,
		LogDir:               noFolder,
		NotLoadCacheAtStart:  true,
		UpdateCacheWhenEmpty: true, // otherwise the last instance stays for ever
		DisableUseSnapShot:   true,
		LogLevel:             "error",
	}
}

func (c *cluster) newNaming() (namingClient, error) {
	client, err := clients.NewNamingClient(vo.NacosClientParam{ClientConfig: c.config(), ServerConfigs: c.copyServers()})
	if err != nil {
		return nil, fmt.Errorf("nacos registry client: %w", err)
	}
	return client, nil
}

func (c *cluster) newConfig() (configClient, error) {
	client, err := clients.NewConfigClient(vo.NacosClientParam{ClientConfig: c.config(), ServerConfigs: c.copyServers()})
	if err != nil {
		return nil, fmt.Errorf("nacos config client: %w", err)
	}
	return client, nil
}

// copyServers is there because a client writes into the slice that it is given.
func (c *cluster) copyServers() []constant.ServerConfig {
	return append([]constant.ServerConfig(nil), c.servers...)
}

// probe returns nil when one of the servers accepts connections, else the last one's error.
func (c *cluster) probe(ctx context.Context) error {
	var last error
	for _, s := range c.servers {
		d := net.Dialer{Timeout: c.timeout}
		conn, err := d.DialContext(ctx, "tcp", grpcAddr(s))
		if err == nil {
			_ = conn.Close()
			return nil
		}
		last = err
	}
	return c.unreachable(last)
}

// closeNaming closes a registry's client. Its Shutdown deletes from the stock client's map of all connections without the
// lock that guards it, while every read of a document looks into the map: a race, and where the two coincide the end of the
// process. So it is done under that lock.
func closeNaming(client namingClient) { underLock(client.CloseClient) }

// closeConfig closes a client of the config centre, which must not be listening any more. Its CloseClient takes
// the lock of [closeNaming]'s map itself before it deletes without it, so that it can't be called under the lock: where
// other config clients of the same process are in use meanwhile, a race remains.
func closeConfig(client configClient) {
	underLock(func() {})
	client.CloseClient()
	underLock(func() {})
}

// underLock calls fn once while the lock of the stock client's map of connections is held. The lock is private; but the
// client logs the name of a connection that it doesn't know while it holds it, and asked for one of an unknown type it does
// nothing else. Where another logger was set in place of ours fn is called without the lock.
func underLock(fn func()) {
	installLogger()
	once := sync.OnceFunc(fn)
	name := "graychain-lock-" + strconv.FormatUint(locks.Add(1), 10)
	sdk.underLock.Store(name, once)
	defer sdk.underLock.Delete(name)
	_, _ = rpc.CreateClient(context.Background(), name, rpc.ConnectionType(1<<16), nil, nil, nil, nil)
	once()
}

var locks atomic.Uint64
