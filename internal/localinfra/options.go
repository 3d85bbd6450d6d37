package localinfra

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// CacheEnv names the environment variable that says where the servers' jars are kept.
const CacheEnv = "GRAYCHAIN_CACHE"

const (
	// DefaultNacosPort is Nacos's usual port.
	DefaultNacosPort = 8848
	// DefaultNamesrvPort is the name server's usual port.
	DefaultNamesrvPort = 9876
	// DefaultBrokerPort is the broker's usual port.
	DefaultBrokerPort = 10911

	// DefaultReadyLimit bounds the time from a server's start until it is usable; a loaded machine of two cores needs a
	// fifth of it.
	DefaultReadyLimit = 90 * time.Second
)

// ErrOption means that an option cannot be what it is.
var ErrOption = errors.New("invalid option")

// Port is where a server's group of ports begins.
type Port struct {
	// Number is the server's main port; 0 means its usual one.
	Number int
	// Fixed makes Start fail where a port of the group is taken, instead of moving the group.
	Fixed bool
}

// Options says how to run the servers. The zero value and a State are enough.
type Options struct {
	// State is the folder for data, configuration and logs; it is created. Required. One Start at a time can use it.
	State string
	// Cache is the folder for jars; empty means $GRAYCHAIN_CACHE, or graychain/servers in the user's cache folder.
	Cache string
	// Nacos, Namesrv and Broker are the servers' ports.
	Nacos, Namesrv, Broker Port
	// BrokerConfig adds to the broker's configuration, or replaces what it holds: messageDelayLevel,
	// flushConsumerOffsetInterval and so on. Ports, addresses and folders are refused.
	BrokerConfig map[string]string
	// NacosJVM, NamesrvJVM and BrokerJVM are added to the servers' JVM arguments, after graychain's own:
	// -Drocketmq.broker.rebalance.lockMaxLiveTime=5000, -Xmx512m.
	NacosJVM, NamesrvJVM, BrokerJVM []string
	// Discard says that nobody will use State again: the servers are killed rather than stopped, which is quicker.
	Discard bool
	// NoNacos starts RocketMQ alone: Servers has no Nacos, and no address of it.
	NoNacos bool
	// NoArchive neither makes nor uses AppCDS archives.
	NoArchive bool
	// ReadyLimit bounds the time from a server's start until it is usable; 0 means DefaultReadyLimit.
	ReadyLimit time.Duration
	// Group is where the servers' processes are held. Nil means a group of their own, which Servers.Stop ends.
	Group *proc.Group
	// Progress, where not nil, is told of every step. It is never called by two goroutines at once, and must not block.
	Progress func(Event)
}

// ownKeys are those of the broker's configuration that follow from other options.
var ownKeys = []string{
	"bindAddress", "brokerIP1", "brokerIP2", "haListenPort", "listenPort", "namesrvAddr", "rocketmqHome",
	"storePathCommitLog", "storePathRootDir",
}

// complete checks the options and fills in what is missing.
func (o Options) complete() (Options, error) {
	if o.State == "" {
		return o, fmt.Errorf("%w: State is empty; it must be a folder's path", ErrOption)
	}
	var err error
	if o.State, err = filepath.Abs(o.State); err != nil {
		return o, err
	}
	if o.Cache == "" {
		o.Cache = os.Getenv(CacheEnv)
	}
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("%w: Cache is empty and this user has no cache folder (%w); set %s to a folder's path", ErrOption, err, CacheEnv)
		}
		o.Cache = filepath.Join(dir, "graychain", "servers")
	}
	if o.Cache, err = filepath.Abs(o.Cache); err != nil {
		return o, err
	}
	// A class path is a list with colons between.
	if strings.ContainsRune(o.Cache, filepath.ListSeparator) {
		return o, fmt.Errorf("%w: Cache is %q; it must not contain %q", ErrOption, o.Cache, filepath.ListSeparator)
	}
	for _, p := range []struct {
		name     string
		port     *Port
		def      int
		min, max int
	}{
		{"Nacos", &o.Nacos, DefaultNacosPort, 1000 + 1, 65535 - 1001},
		{"Namesrv", &o.Namesrv, DefaultNamesrvPort, 1, 65535},
		{"Broker", &o.Broker, DefaultBrokerPort, 2 + 1, 65535 - 1},
	} {
		if p.port.Number == 0 {
			p.port.Number = p.def
		}
		if n := p.port.Number; n < p.min || n > p.max {
			return o, fmt.Errorf("%w: %s port is %d; it must be from %d to %d", ErrOption, p.name, n, p.min, p.max)
		}
	}
	if err := checkBrokerConfig(o.BrokerConfig); err != nil {
		return o, err
	}
	if o.ReadyLimit < 0 {
		return o, fmt.Errorf("%w: ReadyLimit is %s; it must not be negative", ErrOption, o.ReadyLimit)
	}
	if o.ReadyLimit == 0 {
		o.ReadyLimit = DefaultReadyLimit
	}
	return o, nil
}

// checkBrokerConfig refuses what is no configuration, and what follows from other options.
func checkBrokerConfig(config map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(config)) {
		v := config[k]
		switch {
		case k == "" || strings.ContainsAny(k, " \t\r\n=:#!\\"):
			return fmt.Errorf("%w: BrokerConfig has the key %q; it must be a name of the broker's configuration", ErrOption, k)
		case slices.Contains(ownKeys, k):
			return fmt.Errorf("%w: BrokerConfig sets %q to %q; ports, addresses and folders follow from the other options", ErrOption, k, v)
		case strings.ContainsAny(v, "\r\n"):
			return fmt.Errorf("%w: BrokerConfig sets %q to %q; it must be one line", ErrOption, k, v)
		}
	}
	return nil
}
