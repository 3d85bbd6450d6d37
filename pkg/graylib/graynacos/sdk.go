package graynacos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// ErrUnreachable is wrapped where Nacos didn't answer; the text is "nacos <addresses> can't be reached: <why>".
var ErrUnreachable = errors.New("can't be reached")

// ErrClosed is returned by what was closed.
var ErrClosed = errors.New("graynacos: closed")

// namingClient is what is used of the stock client for the registry.
type namingClient interface {
	RegisterInstance(vo.RegisterInstanceParam) (bool, error)
	DeregisterInstance(vo.DeregisterInstanceParam) (bool, error)
	Subscribe(*vo.SubscribeParam) error
	Unsubscribe(*vo.SubscribeParam) error
	SelectAllInstances(vo.SelectAllInstancesParam) ([]model.Instance, error)
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
	dir       string // of this process alone
}

// unreachable makes the error of a failed request. It is one line.
func (c *cluster) unreachable(err error) error {
	return fmt.Errorf("nacos %s %w: %s", c, ErrUnreachable, oneLine(err))
}

// failed makes the error of a request that failed: unreachable where there was no answer, else what the server said.
func (c *cluster) failed(err error) error {
	for _, sign := range []string{"client not connected", "Unavailable", "DeadlineExceeded", "connection"} {
		if strings.Contains(err.Error(), sign) {
			return c.unreachable(err)
		}
	}
	return fmt.Errorf("nacos %s: %s", c, oneLine(err))
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

// config makes the client's configuration. Its caches are never read back: a cache that another process wrote, or an
// older run, hides what the server says, and GetConfig would fall back to it without a word.
func (c *cluster) config() *constant.ClientConfig {
	return &constant.ClientConfig{
		NamespaceId:          c.namespace,
		Username:             c.username,
		Password:             c.password,
		TimeoutMs:            uint64(c.timeout.Milliseconds()),
		CacheDir:             filepath.Join(c.dir, "cache"),
		LogDir:               filepath.Join(c.dir, "log"),
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

// newDir makes the folder of this process for the client's files. Without a place for one the client works too, it says
// so itself.
func newDir(state string) (dir string, remove func()) {
	if state != "" {
		if err := os.MkdirAll(state, 0o700); err != nil {
			state = ""
		}
	}
	dir, err := os.MkdirTemp(state, "nacos-sdk-")
	if err != nil {
		return filepath.Join(os.TempDir(), "nacos-sdk-none"), func() {}
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

var closing sync.Mutex

// closeClient closes a client of this package's. The stock client's Shutdown deletes from a map of all connections without
// the lock that guards it; the two calls around it take that lock, so that nothing that happened before or happens after
// races with it, and no two clients are closed at once.
func closeClient(end func()) {
	closing.Lock()
	defer closing.Unlock()
	fence()
	end()
	fence()
}

// fence takes and gives back the lock of the client's map: asked for a connection of an unknown type it does nothing else.
func fence() {
	installLogger()
	_, _ = rpc.CreateClient(context.Background(), "graychain-fence", rpc.ConnectionType(1<<16), nil, nil, nil, nil)
}
