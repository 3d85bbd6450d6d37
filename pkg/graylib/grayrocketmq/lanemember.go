package grayrocketmq

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// laneMember is one member of a lane's group: an instance of the lane's own, or a baseline instance as a stand-in; or of
// <group> or <group>__tagged, whose members are all of the baseline's own. Which of the group's queues it owns, and what it commits, is
// decided by [ownership.Machine].
//
// It doesn't use the client's consumer, which commits every 5 s and with each pull what it believes to be finished, takes queues
// without locks (or pulls before they are sure) and drops what is under way. Membership, locks, pulls and commits of one broker travel on one connection
// here, so that the broker and the member agree on when the member is gone. Handlers see what the client would show them.
type laneMember struct {
	worker
	id      string // the client id
	version int64  // of its subscriptions
	config  ownership.Config
	slots   map[string]chan struct{} // by topic: handlers at once
	crew    *crew                    // runs them

	ctx     context.Context // until it has left
	cancel  context.CancelFunc
	unwatch func()
	rules   chan struct{} // holds one: the rules have changed
	reroute chan struct{} // holds one: the routes are to be read sooner than they would be
	wg      sync.WaitGroup

	mu       sync.Mutex
	brokers  map[string]*laneBroker
	queues   map[remoting.Queue]*laneQueue
	started  bool
	leaving  bool
	resume   chan struct{} // while suspended; closed by resuming
	dropped  map[string]bool
	joining  bool                    // its first brokers are being met, which were looked at before
	lacking  map[remoting.Queue]bool // of brokers without a master, by the last routes
	unmet    error                   // why the last broker that was new couldn't be connected
	running  int
	unlisted bool // the list has a member that can't be understood
}

// laneBroker is a lane's member at one broker.
type laneBroker struct {
	name    string
	addr    string
	roster  *ownership.Roster
	session *remoting.Session // nil while there is no connection
	metAt   time.Time         // when it was made
	members chan struct{}     // holds one: the group's list has changed

	checked   bool                 // whether it takes the filter and has the group; by whoever connects alone
	elsewhere string               // the address that the last route named, where it isn't the connection's
	told      map[string]time.Time // when it was logged last that the broker refuses pulls, by reason
}

// Times of a membership.
const (
	heartbeatEvery    = 20 * time.Second // brokers forget a member after 120 s
	listEvery         = 20 * time.Second // in case that a notification was lost; the client's own rebalance interval
	routeEverySlow    = 30 * time.Second // the client's own
	routeEveryLacking = 5 * time.Second  // while a broker has no master
	redialFirst       = 50 * time.Millisecond
	redialMost        = time.Second

	introducePatience = 30 * time.Second // of a broker that takes a connection and doesn't answer; then another is tried
)

// joinLane joins a lane's group. Its first offsets are set and its filter is checked. No queue is taken before start.
func (c *Consumer) joinLane(ctx context.Context, p place, subs []*subscription, routes map[string]remoting.Route) (*laneMember, error) {
	id := c.rt.Identity()
	role := ownership.StandIn
	if p.kind != kindLane || id.Tag == p.lane.Tag {
		role = ownership.Own
	}
	host, _, err := net.SplitHostPort(id.Addr)
	if err != nil || host == "" {
		host = "127.0.0.1"
	}
	m := &laneMember{
		worker:  newWorker(c, p, subs),
		id:      host + "@" + ownership.InstanceName(id.Service, id.Tag, role, topicsOf(subs), newUUID()),
		version: time.Now().UnixMilli(),
		config:  ownership.Config{Drain: c.opts.drain}.WithDefaults(),
		slots:   make(map[string]chan struct{}), rules: make(chan struct{}, 1), reroute: make(chan struct{}, 1),
		brokers: make(map[string]*laneBroker), queues: make(map[remoting.Queue]*laneQueue), dropped: make(map[string]bool), lacking: make(map[remoting.Queue]bool),
	}
	for _, s := range subs {
		m.slots[s.topic] = make(chan struct{}, c.set.goroutines)
	}
	m.slots[retryTopic(p.group)] = make(chan struct{}, c.set.goroutines)
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx)) // it outlives its start
	m.crew = newCrew(m.ctx.Done())
	m.joining = true
	m.route(ctx, routes)
	m.joining = false
	if !m.connectedToAny() {
		m.cancel()
		m.closeSessions()
		m.wg.Wait()
		return nil, fmt.Errorf("group %q: %w", p.group, m.unmet)
	}
	m.unwatch = c.rt.RulesSource().Watch(func(graylib.Rules) { poke(m.rules) })
	m.wg.Go(m.watch)
	m.wg.Go(m.keepRoutes)
	return m, nil
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// start lets the member take queues.
func (m *laneMember) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started = true
	for _, b := range m.brokers {
		m.balance(b)
	}
}

// sleep tells whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connectedToAny tells whether a broker is connected, or none is known yet.
func (m *laneMember) connectedToAny() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.brokers {
		if b.session != nil {
			return true
		}
	}
	return len(m.brokers) == 0
}

// connect makes the connection to a broker, and makes the member one of the group's. A broker that wasn't there when the group was
// joined is looked at first, as the others were then.
func (m *laneMember) connect(ctx context.Context, b *laneBroker) error {
	m.mu.Lock()
	addr := b.addr
	m.mu.Unlock()
	if !b.checked {
		if err := m.c.admit(ctx, m.place, m.subs, b.name, addr); err != nil {
			return err
		}
		b.checked = true
	}
	s, err := m.c.api.Open(ctx, addr, m.id, func(n remoting.Notice) {
		switch {
		case n.Group != m.place.group:
		case n.Reset != nil:
			m.wg.Go(func() { m.reset(n.Reset) }) // the reader mustn't wait
		default:
			poke(b.members)
		}
	})
	if err != nil {
		return err
	}
	if err := m.introduce(ctx, s); err != nil {
		_ = s.Close()
		return err
	}
	m.mu.Lock()
	b.session, b.metAt = s, time.Now()
	m.mu.Unlock()
	poke(b.members)
	return nil
}

// introduce makes the member one of the group's, by a first heartbeat. One that isn't answered in time (the broker has just
// started, or was frozen) is sent again on the same connection. Were that closed instead, the broker might handle the heartbeat
// after it had seen the end: it would list a member that nobody is, until it drops it after 120 s, and whose queues would wait.
func (m *laneMember) introduce(ctx context.Context, s *remoting.Session) error {
	for began := time.Now(); ; {
		err := s.Heartbeat(ctx, m.place.group, m.heartbeat(), m.version)
		if err == nil || !remoting.TimedOut(err) || ctx.Err() != nil || time.Since(began) > introducePatience {
			return err
		}
	}
}

// heartbeat is what the member says that it subscribes to. It serves those who look at the broker: each pull bears its
// own filter.
func (m *laneMember) heartbeat() []remoting.Subscription {
	list := []remoting.Subscription{{Topic: retryTopic(m.place.group), Expression: "*", Type: "TAG"}}
	for _, s := range m.subs {
		list = append(list, m.filter(s))
	}
	return list
}

func (m *laneMember) filter(s *subscription) remoting.Subscription {
	sel := s.selector(m.place.kind, m.place.lane.Tag, m.c.filter(s.topic))
	return remoting.Subscription{Topic: s.topic, Expression: sel.Expression, Type: string(sel.Type)}
}

// keepBroker keeps the member in the group at one broker.
func (m *laneMember) keepBroker(b *laneBroker) {
	defer m.closeSessions() // a connection may have been made while the others were closed
	met := false
	for {
		met = m.attend(b) || met
		m.connected(b, false)
		for wait := redialFirst; ; wait = min(2*wait, redialMost) {
			if m.ctx.Err() != nil || !sleep(m.ctx, wait) {
				return
			}
			err := m.connect(m.ctx, b)
			if err == nil {
				break
			}
			level := slog.LevelDebug
			if !met && wait == redialFirst { // whose connection was lost was told
				level = slog.LevelWarn
			}
			m.c.log().Log(m.ctx, level, "no connection to a broker yet: its queues wait", "group", m.place.group, "broker", b.name, "error", err)
			poke(m.reroute) // it may be another machine by now
		}
		m.connected(b, true)
	}
}

// connected tells the broker's queues that the connection is back or gone.
func (m *laneMember) connected(b *laneBroker, up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !up {
		had := b.session != nil
		if had {
			_ = b.session.Close()
		}
		b.session = nil
		if had && m.ctx.Err() == nil {
			m.c.log().Warn("the connection to a broker was lost", "group", m.place.group, "broker", b.name)
		}
	}
	now := time.Now()
	for _, q := range m.queues {
		if q.b == b {
			q.machine.Connection(now, up)
			poke(q.kick)
		}
	}
}

// attend serves a connection until it is lost. It tells whether there was one.
func (m *laneMember) attend(b *laneBroker) bool {
	m.mu.Lock()
	s := b.session
	m.mu.Unlock()
	if s == nil {
		return false
	}
	beat, list := time.NewTicker(heartbeatEvery), time.NewTicker(listEvery)
	defer beat.Stop()
	defer list.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return true
		case <-s.Done():
			return true
		case <-beat.C:
			if err := s.Heartbeat(m.ctx, m.place.group, m.heartbeat(), m.version); err != nil && m.ctx.Err() == nil {
				m.c.log().Warn("a heartbeat failed", "group", m.place.group, "broker", b.name, "error", err)
			}
		case <-b.members:
			_ = m.readList(b, s)
		case <-list.C:
			_ = m.readList(b, s)
		}
	}
}

// readList reads the group's list anew, and wants queues by it.
func (m *laneMember) readList(b *laneBroker, s *remoting.Session) error {
	sentAt := time.Now()
	ids, err := s.Members(m.ctx, s.Addr(), m.place.group)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	b.roster.Read(sentAt, ids)
	m.balance(b)
	return nil
}

// listTrust is how old a group's list may be to say who is live.
const listTrust = 3 * listEvery

// live tells whether an instance of the lane's own that wants the topic is in the group, at any broker that has said so lately: that
// the connection was lost since says nothing of the lane.
func (m *laneMember) live(topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.brokers {
		if time.Since(b.roster.ReadAt()) > listTrust {
			continue
		}
		for _, id := range b.roster.IDs() {
			if o, err := ownership.ParseMember(id); err == nil && o.Role == ownership.Own && o.Wants(topic) {
				return true
			}
		}
	}
	return false
}

// watch follows the rules.
func (m *laneMember) watch() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.rules:
		}
		m.mu.Lock()
		for _, b := range m.brokers {
			m.balance(b)
		}
		for _, q := range m.queues {
			poke(q.room)
		}
		m.mu.Unlock()
	}
}
