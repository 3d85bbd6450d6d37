package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

// Services are the programs of the chain, callers first.
var Services = []string{"gateway", "a", "b", "c"}

// Laned are the services that a lane may have instances of.
var Laned = []string{"a", "b", "c"}

// ServicePrefix begins the name of a service's process in a [proc.Exit]; what follows is the instance's name. Servers are
// named without it.
const ServicePrefix = "service "

// JournalFolder is where, in the state folder, the services keep their journals: what they reported outlives being killed.
const JournalFolder = "journal"

const (
	readyLimit = 60 * time.Second
	readyEvery = 30 * time.Millisecond
	stopGrace  = 35 * time.Second // above the services' drain limit of 25 s and their way out of the registry
)

// Instance is one service process. Its methods are safe for concurrent use.
type Instance struct {
	Service string
	Tag     graylib.Tag
	Name    string // unique in the suite: a, a-gray, a-gray-2
	HTTP    string // host:port
	RPC     string // host:port, or ""
	Log     string // file

	suite *Suite
	slot  int

	mu      sync.Mutex
	process *proc.Process
	live    bool // as far as the suite knows: started, ready, and neither stopped nor dead
}

// Live tells whether the instance is up as far as the suite knows.
func (i *Instance) Live() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.live && i.process.Exit() == nil
}

// PID returns the process's id.
func (i *Instance) PID() int { return i.proc().PID() }

func (i *Instance) proc() *proc.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.process
}

func (i *Instance) setLive(live bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.live = live
}

// env is the whole environment of the process: nothing of the caller's own settings reaches a service.
func (i *Instance) env(o Options) []string {
	_, httpPort, _ := strings.Cut(i.HTTP, ":")
	set := map[string]string{
		"HTTP_PORT":              httpPort,
		"BIND":                   Host,
		"ADVERTISE":              Host,
		"LOG_FORMAT":             "json",
		graylib.EnvTag:           string(i.Tag),
		graylib.EnvNacosAddr:     o.NacosAddr,
		graylib.EnvNamesrvAddr:   o.NamesrvAddr,
		graylib.EnvObserver:      i.suite.ObserverURL(),
		graylib.EnvJournal:       filepath.Join(o.State, JournalFolder),
		graylib.EnvState:         filepath.Join(o.State, "services", i.Name),
		graylib.EnvNacosUsername: "",
	}
	if i.RPC != "" {
		_, set["RPC_PORT"], _ = strings.Cut(i.RPC, ":")
	}
	if i.Service == "a" || i.Service == "c" {
		set["TOPIC"] = o.Topic
	}
	maps.Copy(set, o.Env)
	maps.Copy(set, o.ServiceEnv[i.Service])
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "GOMAXPROCS", "GODEBUG", "GOTRACEBACK", "GORACE"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] != "" {
			env = append(env, name+"="+set[name])
		}
	}
	return env
}

// start starts the process and waits until it says that it is ready.
func (i *Instance) start(ctx context.Context, o Options) error {
	p, err := i.suite.group.Start(ctx, proc.Spec{
		Name: ServicePrefix + i.Name, Path: filepath.Join(i.suite.bin, i.Service), Env: i.env(o),
		Dir: o.State, Log: i.Log, Append: true, Grace: stopGrace, Batch: "services",
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	i.process = p
	i.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, o.ReadyLimit)
	defer cancel()
	var said error // the last answer: what a request that was cut off at the end says is no reason
	check := func(ctx context.Context) error {
		err := i.ready(ctx)
		if err != nil && ctx.Err() != nil && said != nil {
			return said
		}
		said = err
		return err
	}
	if err := p.WaitReady(ctx, readyEvery, check); err != nil {
		return err
	}
	i.setLive(true)
	return nil
}

var errNotReady = errors.New("not ready")

// ready asks the process whether it is.
func (i *Instance) ready(ctx context.Context) error {
	status, body, err := get(ctx, i.suite.client, "http://"+i.HTTP+graylib.ReadyPath)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%w: it answers %d: %s", errNotReady, status, strings.TrimSpace(string(body)))
	}
	return nil
}

// Status asks the process for its status.
func (i *Instance) Status(ctx context.Context) (graylib.Status, error) {
	var st graylib.Status
	status, body, err := get(ctx, i.suite.client, "http://"+i.HTTP+graylib.StatusPath)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d", graylib.StatusPath, status)
	}
	if err == nil {
		err = json.Unmarshal(body, &st)
	}
	if err != nil {
		return st, fmt.Errorf("status of %s: %w", i.Name, err)
	}
	return st, nil
}

// Stop ends the process in its own order (SIGTERM), and waits until callers have dropped it.
func (i *Instance) Stop(ctx context.Context) error {
	i.setLive(false)
	err := i.proc().Stop(ctx)
	i.suite.save()
	return errors.Join(err, i.suite.WaitRouted(ctx))
}

// Kill ends the process at once (SIGKILL). Callers notice by themselves.
func (i *Instance) Kill() error {
	i.setLive(false)
	defer i.suite.save()
	return i.proc().Kill()
}

// Start starts the process again, after Stop or Kill, on the same ports, and waits until callers know it.
func (i *Instance) Start(ctx context.Context) error {
	if i.proc().Exit() == nil {
		return fmt.Errorf("%s runs (pid %d)", i.Name, i.PID())
	}
	if err := i.start(ctx, i.suite.options); err != nil {
		return err
	}
	i.suite.save()
	return i.suite.WaitRouted(ctx)
}

// Restart is Stop and Start.
func (i *Instance) Restart(ctx context.Context) error {
	if err := i.Stop(ctx); err != nil {
		return err
	}
	return i.Start(ctx)
}

// Pause freezes the process (SIGSTOP). It counts as live: nobody has told otherwise.
func (i *Instance) Pause() error { return i.proc().Pause() }

// Resume lets a paused process go on.
func (i *Instance) Resume() error { return i.proc().Resume() }

// instanceName names the n-th instance of a service in a lane, from 1.
func instanceName(service string, tag graylib.Tag, n int) string {
	name := service
	if tag != graylib.Untagged {
		name += "-" + string(tag)
	}
	if n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return name
}
