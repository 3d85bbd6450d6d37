package graynacos

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

func init() {
	graylib.RegisterBackend(func(id graylib.Identity, c graylib.Config, log *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		return Open(id, c, log)
	})
}

// Open connects to the Nacos of c: the registry returned is a [*Registry], the source of rules a [*Rules]; close
// both. id should be complete: its tag, instance name and service go into the metadata of what is registered. A nil log is
// [slog.Default].
//
// It waits for a first answer about the rules, 2 s at most ([WithStartWait]), and succeeds without one: Nacos may be away.
// An error means that the configuration is wrong, and wraps [graylib.ErrInvalidConfig].
func Open(id graylib.Identity, c graylib.Config, log *slog.Logger, opts ...Option) (graylib.Registry, graylib.RulesSource, error) {
	o := newOptions(opts)
	if log == nil {
		log = slog.Default()
	}
	state := o.state
	if state == "" {
		state = c.State
	}
	cl, err := newCluster(c, o)
	if err != nil {
		return nil, nil, err
	}
	d, err := newDisk(state, cl.namespace, addrKey(cl.servers), o.rulesGroup, o.rulesDataID)
	if err != nil {
		log.Warn("the rules can't be kept on disk: a start with Nacos away will know none; set "+graylib.EnvState+
			" to a folder that can be written", "error", err)
	}
	useLogger(log)
	source := newRules(cl, log, o, d, cl.newConfig)
	registry := newRegistry(cl, id, log, o, cl.newNaming)
	t := time.NewTimer(o.startWait)
	defer t.Stop()
	select {
	case <-source.first:
	case <-t.C:
	}
	return registry, source, nil
}

func newCluster(c graylib.Config, o options) (*cluster, error) {
	servers, err := parseServers(c.NacosAddr, o.grpcOffset)
	if err != nil {
		return nil, err
	}
	if c.NacosPassword != "" && c.NacosUsername == "" {
		return nil, fmt.Errorf("%w: %s is set without %s: want both or none",
			graylib.ErrInvalidConfig, graylib.EnvNacosPassword, graylib.EnvNacosUsername)
	}
	return &cluster{
		servers: servers, namespace: normalNamespace(c.NacosNamespace),
		username: c.NacosUsername, password: c.NacosPassword, timeout: o.timeout,
	}, nil
}
