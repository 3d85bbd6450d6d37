package graynacos

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

var errAway = errors.New("client not connected, current status:UNHEALTHY")

// fakeConfig is a config centre that can be away, whose reads lag its writes, and whose pushes can get lost.
type fakeConfig struct {
	mu       sync.Mutex
	content  string
	away     bool
	reads    []time.Time
	onChange func(namespace, group, dataID, data string)
	closed   bool
	lag      time.Duration
	stale    string
	written  time.Time
}

func (f *fakeConfig) set(content string, push bool) {
	f.mu.Lock()
	f.stale, f.content, f.written = f.content, content, time.Now()
	fn := f.onChange
	f.mu.Unlock()
	if push && fn != nil {
		fn("", "", "", content)
	}
}

func (f *fakeConfig) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *fakeConfig) readCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.reads)
}

func (f *fakeConfig) GetConfig(vo.ConfigParam) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, time.Now())
	if f.away {
		return "", errAway
	}
	if time.Since(f.written) < f.lag {
		return f.stale, nil
	}
	return f.content, nil
}

func (f *fakeConfig) ListenConfig(p vo.ConfigParam) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onChange = p.OnChange
	return nil
}

func (f *fakeConfig) CancelListenConfig(vo.ConfigParam) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onChange = nil
	return nil
}

func (f *fakeConfig) CloseClient() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func (f *fakeConfig) PublishConfig(vo.ConfigParam) (bool, error) {
	return false, errors.New("not used")
}
func (f *fakeConfig) DeleteConfig(vo.ConfigParam) (bool, error) { return false, errors.New("not used") }

// fakeNaming is a registry with the stock client's ways: a failed Subscribe keeps the callback, callbacks come on changes
// of the cache alone.
type fakeNaming struct {
	mu         sync.Mutex
	away       bool
	refuse     bool
	hosts      map[string][]model.Instance
	cached     map[string]bool
	callbacks  map[string][]func([]model.Instance, error)
	registered map[string]vo.RegisterInstanceParam
	log        []string
	closed     bool
	slow       time.Duration // what a registration takes
}

func newFakeNaming() *fakeNaming {
	return &fakeNaming{
		hosts: map[string][]model.Instance{}, cached: map[string]bool{},
		callbacks: map[string][]func([]model.Instance, error){}, registered: map[string]vo.RegisterInstanceParam{},
	}
}

func (f *fakeNaming) do(what string) error {
	f.log = append(f.log, what)
	if f.away {
		return errAway
	}
	return nil
}

func (f *fakeNaming) setAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *fakeNaming) calls(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, l := range f.log {
		if l == what {
			n++
		}
	}
	return n
}

// push is a list that the server sends.
func (f *fakeNaming) push(service string, hosts ...model.Instance) {
	f.mu.Lock()
	f.hosts[service], f.cached[service] = hosts, true
	fns := slices.Clone(f.callbacks[service])
	f.mu.Unlock()
	for _, fn := range fns {
		fn(hosts, nil)
	}
}

// answer is what a subscription's request does.
func (f *fakeNaming) answer(service string) (model.Service, error) {
	f.mu.Lock()
	if err := f.do("subscribe " + service); err != nil {
		f.mu.Unlock()
		return model.Service{}, err
	}
	if f.refuse {
		f.mu.Unlock()
		return model.Service{}, nil
	}
	hosts, news := f.hosts[service], !f.cached[service]
	f.cached[service] = true
	fns := slices.Clone(f.callbacks[service])
	f.mu.Unlock()
	if news {
		for _, fn := range fns {
			fn(hosts, nil)
		}
	}
	return model.Service{Name: service, Hosts: hosts}, nil
}

func (f *fakeNaming) Subscribe(p *vo.SubscribeParam) error {
	f.mu.Lock()
	f.callbacks[p.ServiceName] = append(f.callbacks[p.ServiceName], p.SubscribeCallback)
	f.mu.Unlock()
	_, err := f.answer(p.ServiceName)
	return err
}

func (f *fakeNaming) Unsubscribe(p *vo.SubscribeParam) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.callbacks, p.ServiceName)
	delete(f.cached, p.ServiceName)
	return f.do("unsubscribe " + p.ServiceName)
}

func (f *fakeNaming) GetAllServicesInfo(vo.GetAllServiceInfoParam) (model.ServiceList, error) {
	return model.ServiceList{}, errAway
}

func (f *fakeNaming) GetService(p vo.GetServiceParam) (model.Service, error) {
	return f.answer(p.ServiceName)
}

func (f *fakeNaming) RegisterInstance(p vo.RegisterInstanceParam) (bool, error) {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("register " + p.ServiceName); err != nil {
		return false, err
	}
	if f.refuse {
		return false, nil
	}
	f.registered[p.ServiceName] = p
	return true, nil
}

func (f *fakeNaming) DeregisterInstance(p vo.DeregisterInstanceParam) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("deregister " + p.ServiceName); err != nil {
		return false, err
	}
	delete(f.registered, p.ServiceName)
	return true, nil
}

func (f *fakeNaming) CloseClient() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

func fakeCluster() *cluster {
	return &cluster{servers: []constant.ServerConfig{{IpAddr: "nacos", Port: 8848, GrpcPort: 9848}}, timeout: 3 * time.Second}
}

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newLog() (*slog.Logger, *logBuffer) {
	b := &logBuffer{}
	return slog.New(slog.NewTextHandler(b, nil)), b
}

func newFakeRules(f *fakeConfig, d disk) (*Rules, *logBuffer) {
	log, buf := newLog()
	return newRules(fakeCluster(), log, newOptions(nil), d, func() (configClient, error) { return f, nil }), buf
}

func newFakeRegistry(f *fakeNaming, id graylib.Identity, opts ...Option) (*Registry, *logBuffer) {
	log, buf := newLog()
	return newRegistry(fakeCluster(), id, log, newOptions(opts), func() (namingClient, error) { return f, nil }), buf
}
