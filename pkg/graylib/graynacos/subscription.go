package graynacos

import (
	"context"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// probeEvery is how often instances that are held are asked whether they still accept connections, and probeTimeout how
// long one may take to.
const (
	probeEvery   = time.Second
	probeTimeout = 500 * time.Millisecond
)

// subscription keeps one service's table up to date. One goroutine of its own makes all requests; the client's callback
// delivers lists.
type subscription struct {
	r     *Registry
	table *graylib.Table
	param *vo.SubscribeParam // one for all calls: the client tells callbacks apart by its address

	tried     chan struct{} // closed after the first attempt, however it ended
	triedOnce sync.Once
	redo      chan struct{} // a reconnect happened
	held      chan struct{} // something is held

	mu     sync.Mutex // held while a table's watchers run
	hold   holdback
	warned map[string]struct{}

	stateMu    sync.Mutex
	deliveries int
	err        error // of the last attempt
}

func newSubscription(r *Registry, service string) *subscription {
	s := &subscription{
		r: r, table: graylib.NewTable(service),
		tried: make(chan struct{}), redo: make(chan struct{}, 1), held: make(chan struct{}, 1),
		hold: holdback{window: r.opts.holdback}, warned: make(map[string]struct{}),
	}
	s.param = &vo.SubscribeParam{
		ServiceName: service, GroupName: r.opts.group,
		SubscribeCallback: func(hosts []model.Instance, err error) {
			if err == nil {
				s.deliver(copyHosts(hosts))
			}
		},
	}
	return s
}

// run subscribes and stays until ctx ends.
func (s *subscription) run(ctx context.Context) {
	defer s.attempted(nil)
	naming, err := s.r.naming(ctx)
	if err != nil {
		s.attempted(err)
		return
	}
	s.subscribe(ctx, naming)
	var probe <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.redo:
			s.resubscribe(ctx, naming)
			continue
		case <-s.held:
		case <-probe:
		}
		probe = nil
		if s.probe(ctx) {
			probe = time.After(probeEvery)
		}
	}
}

// subscribe tries until it holds. The client registers the callback and notes the wish to subscribe even where the
// request fails, so that a second Subscribe would call back twice: from then on the request alone is repeated. Nor is a
// Subscribe without an error a subscription: the client takes a refusal for an empty list of a service without a name.
func (s *subscription) subscribe(ctx context.Context, naming namingClient) {
	before := s.delivered()
	err := naming.Subscribe(s.param)
	var b backoff
	for {
		if err == nil {
			if s.delivered() != before {
				break
			}
			// A refusal; or the client had this list from a push already: it calls back on changes of its cache alone.
			err = s.fetch(naming, before)
		}
		if err == nil {
			break
		}
		s.attempted(err)
		if b.wait(ctx) != nil {
			return
		}
		err = s.fetch(naming, before)
	}
	s.attempted(nil)
}

// fetch subscribes where the client's cache has no list, and delivers the one it then has unless a callback did.
func (s *subscription) fetch(naming namingClient, before int) error {
	service, err := naming.GetService(vo.GetServiceParam{ServiceName: s.param.ServiceName, GroupName: s.param.GroupName})
	switch {
	case err != nil:
		return err
	case service.Name == "":
		return errNotAllowed
	case s.delivered() == before:
		s.deliver(copyHosts(service.Hosts))
	}
	return nil
}

// resubscribe begins anew after a reconnect. The client subscribes again by itself, but only tries once, and a server
// that is still starting refuses; it also drops lists that are older than its own by the servers' clocks, which may be
// another server's. Both last for ever; beginning anew forgets them.
func (s *subscription) resubscribe(ctx context.Context, naming namingClient) {
	if sleep(ctx, s.r.opts.redoAfter) != nil {
		return
	}
	_ = naming.Unsubscribe(s.param) // it forgets first and asks the server then; subscribing again makes up for a failure
	s.subscribe(ctx, naming)
}

// attempted notes how an attempt ended.
func (s *subscription) attempted(err error) {
	if err != nil {
		err = s.r.cluster.failed(err)
	}
	s.stateMu.Lock()
	s.err = err
	s.stateMu.Unlock()
	s.triedOnce.Do(func() { close(s.tried) })
}

// state returns whether a list was ever known, and the last attempt's error.
func (s *subscription) state() (answered bool, err error) {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.deliveries > 0, s.err
}

func (s *subscription) delivered() int {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.deliveries
}

// deliver puts a list in force, but for what [holdback] keeps.
func (s *subscription) deliver(hosts []model.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table.Store(graylib.NewSnapshot(s.hold.list(time.Now(), instances(s.table.Service(), hosts, s.badTag))))
	s.stateMu.Lock()
	s.deliveries++
	s.stateMu.Unlock()
	if len(s.hold.held) > 0 {
		s.r.log.Info("the registry's list shrank after a reconnect; what it lacks stays while it accepts connections",
			"service", s.table.Service(), "listed", len(s.hold.listed), "kept", len(s.hold.held))
		notify(s.held)
	}
}

// reconnected is told of a new connection before the client uses it. It doesn't block for long: deliver holds the lock
// for a table's watchers at most.
func (s *subscription) reconnected(now time.Time) {
	s.mu.Lock()
	s.hold.reconnected(now)
	s.mu.Unlock()
	notify(s.redo)
}

// probe asks what is held, and tells whether something still is.
func (s *subscription) probe(ctx context.Context) bool {
	s.mu.Lock()
	held := append([]graylib.Instance(nil), s.hold.held...)
	s.mu.Unlock()
	refused := refusing(ctx, held, probeTimeout)
	if ctx.Err() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold.check(time.Now(), refused) {
		s.table.Store(graylib.NewSnapshot(s.hold.inForce()))
	}
	return len(s.hold.held) > 0
}

// badTag warns of an instance once per address and tag. It is called with the lock held.
func (s *subscription) badTag(addr string, err error) {
	key := addr + " " + err.Error()
	if _, done := s.warned[key]; done || len(s.warned) > 1000 {
		return
	}
	s.warned[key] = struct{}{}
	s.r.log.Warn("an instance is registered with a malformed tag and is not routed to",
		"service", s.table.Service(), "addr", addr, "error", err)
}

// notify wakes the reader of a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
