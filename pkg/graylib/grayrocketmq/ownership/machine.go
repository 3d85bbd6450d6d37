package ownership

import "time"

// Config holds the protocol's times. The zero value of a field means its default.
type Config struct {
	LockLife    time.Duration // after which the broker lets a lock lapse that nobody renewed; 60 s (the broker's lockMaxLiveTime)
	BeginWithin time.Duration // an owner begins nothing later than this after sending its last granted renewal; 50 s
	Renew       time.Duration // between renewals; 1 s
	Drain       time.Duration // how long a give waits for handlers; then it is forced; 25 s
	Calm        time.Duration // no unlocking for others for this long after the connection came back; 3 s
	Settle      time.Duration // between the first lock after a lost connection and the renewal that allows beginning; 2 s
	Retry       time.Duration // between tries to lock, at least; 1 ms. A try comes late by a quarter of what was waited so far
	RetryMax    time.Duration // and at most; 1 s
	Pace        time.Duration // a commit waits so long after the one before, unless half of the span is used up; 10 ms
	Span        int           // DefaultSpan
}

// WithDefaults returns c with its zero fields set.
func (c Config) WithDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.LockLife, 60*time.Second)
	set(&c.BeginWithin, c.LockLife-c.LockLife/6)
	set(&c.Renew, time.Second)
	set(&c.Drain, 25*time.Second)
	set(&c.Calm, 3*time.Second)
	set(&c.Settle, 2*time.Second)
	set(&c.Retry, time.Millisecond)
	set(&c.RetryMax, time.Second)
	set(&c.Pace, 10*time.Millisecond)
	if c.Span == 0 {
		c.Span = DefaultSpan
	}
	return c
}

// State is where one member stands with one queue.
type State uint8

// The states.
const (
	Idle    State = iota // neither held nor asked for
	Locking              // wanted; a lock was asked for, or will be
	Reading              // locked; the committed offset is read as soon as messages may begin
	Owned                // begins messages
	Giving               // begins nothing; waits for what is in flight
	Commit               // nothing in flight; the last commit is under way
	Unlock               // committed; the unlock is under way
	Lost                 // no lock; waits for what is in flight, commits nothing
)

var stateNames = [...]string{"idle", "locking", "reading", "owned", "giving", "committing", "unlocking", "lost"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// ActionKind is what a driver is to do.
type ActionKind uint8

// The kinds of actions. Each is followed by one answer, as named.
const (
	DoNothing   ActionKind = iota
	DoLock                 // ask the broker for the queue's lock, also to renew it -> Machine.LockAnswered
	DoReadList             // read the group's list anew -> Machine.ListRead
	DoUnlockFor            // unlock on behalf of Action.ID -> Machine.UnlockForDone
	DoRead                 // read the committed offset -> Machine.OffsetRead
	DoCommit               // write Action.Offset -> Machine.CommitAnswered
	DoUnlock               // give the lock back -> Machine.UnlockAnswered
)

// Action is one thing to do.
type Action struct {
	Kind   ActionKind
	ID     string // DoUnlockFor
	Offset int64  // DoCommit
}

// Machine holds what one member knows of one queue. A driver feeds it what happened, asks [Machine.Next] what to do, does
// that, and feeds in the answer; it calls Next again after each input and at the time that [Machine.Wake] names; after what changes
// the span alone ([Machine.Begin], [Machine.Finish], [Machine.Abandon], [Machine.Pass]) Wake tells whether that has come closer. Answers
// bear the time at which their request was sent. A Machine is not safe for concurrent use.
type Machine struct {
	self   string
	config Config
	roster *Roster

	state     State
	wanted    bool
	connected bool
	span      *Span // of the current life; nil outside of one

	busy      ActionKind // the action whose answer is awaited; DoNothing = none
	renewed   time.Time  // when the last granted lock was sent
	beginFrom time.Time  // a renewal sent from here on allows beginning; zero = at once
	allowed   bool       // beginFrom is reached
	renewAt   time.Time
	commitAt  time.Time // the next commit that isn't pressing; a passed one = at once
	drainTill time.Time
	resetTo   int64 // where resetting: the offset to commit at the life's end
	resetting bool

	lockingAt time.Time // since when the lock is asked for
	refusedAt time.Time // when the refused lock was sent; zero = none refused
	onBehalf  []string  // still to be unlocked for, by the list read after the refusal
	tried     int       // how many of those that are gone were unlocked for since the last pause
	retryAt   time.Time
	calmTill  time.Time
	backAt    time.Time // when the connection came back; a list read earlier says nothing of this member
	settling  bool      // backAt is set and this member was not seen in a list since

	forced int // gives that did not wait for all handlers
	rules  rules
}

// rules lets tests switch one rule off, to show that the search then finds a broken promise.
type rules struct {
	noDrain, commitAfterLoss, unlockUnseen, beginForever, noSettle, abandonFinishes bool
}

// NewMachine returns the machine of a queue that isn't held. The roster is shared by the queues of one group.
func NewMachine(self string, c Config, roster *Roster) *Machine {
	return &Machine{self: self, config: c.WithDefaults(), roster: roster, connected: true}
}

// State returns where the member stands.
func (m *Machine) State() State { return m.state }

// Span returns the messages of the current life, or nil where the queue isn't held.
func (m *Machine) Span() *Span { return m.span }

// Forced returns how many gives did not wait for all handlers.
func (m *Machine) Forced() int { return m.forced }

// Holds tells whether the member may hold the lock.
func (m *Machine) Holds() bool { return m.state >= Reading && m.state <= Unlock }

// Want says whether the member is to own the queue, by [Allocate]. A queue that is being given is given first.
func (m *Machine) Want(now time.Time, wanted bool) {
	m.wanted = wanted
	switch {
	case wanted && m.state == Idle:
		m.startLocking(now)
	case !wanted && m.state == Locking && m.busy == DoNothing:
		m.state = Idle
	case !wanted && m.state == Owned:
		m.give(now)
	}
}

func (m *Machine) startLocking(now time.Time) {
	m.state, m.lockingAt, m.retryAt, m.refusedAt, m.onBehalf, m.tried = Locking, now, now, time.Time{}, nil, 0
}

func (m *Machine) give(now time.Time) {
	m.state, m.drainTill = Giving, now.Add(m.config.Drain)
}

// Connection says that the connection to the queue's broker was lost, or is back. A lost one counts as a crash: nothing more
// begins or is committed in this life.
func (m *Machine) Connection(now time.Time, up bool) {
	if m.connected == up {
		return
	}
	m.connected = up
	if up {
		m.calmTill, m.backAt, m.settling = now.Add(m.config.Calm), now, true
		if m.state == Locking {
			m.retryAt = now
		}
		return
	}
	m.busy = DoNothing // answers on that connection won't come
	switch m.state {
	case Locking:
		m.startLocking(now)
	case Reading, Owned, Giving, Commit, Unlock:
		m.lose(now)
	case Idle, Lost:
	}
}

// lose ends the life without a commit.
func (m *Machine) lose(now time.Time) {
	m.state, m.drainTill = Lost, now.Add(m.config.Drain)
	m.settleLoss(now)
}

// settleLoss leaves Lost once nothing is in flight.
func (m *Machine) settleLoss(now time.Time) {
	if m.state != Lost || (m.span != nil && m.span.InFlight() > 0 && now.Before(m.drainTill)) {
		return
	}
	if m.rules.commitAfterLoss && m.span != nil && m.connected {
		m.state, m.renewed = Commit, now
		return
	}
	if m.span != nil && m.span.InFlight() > 0 {
		m.forced++
	}
	m.span, m.resetting = nil, false
	m.state = Idle
	if m.wanted {
		m.startLocking(now)
	}
}

// MayBegin tells whether a message may begin now.
func (m *Machine) MayBegin(now time.Time) bool {
	return m.state == Owned && m.connected && m.allowed && m.inTime(now) && m.span.MayBegin()
}

func (m *Machine) inTime(now time.Time) bool {
	return m.rules.beginForever || now.Sub(m.renewed) <= m.config.BeginWithin
}

// Next returns what to do now. It marks the action as under way: the driver does it and feeds in its answer.
func (m *Machine) Next(now time.Time) Action {
	m.settleLoss(now)
	if !m.connected {
		return Action{}
	}
	if m.Holds() && m.state != Reading && !m.inTime(now) {
		// Nothing was heard of the lock for so long that it may have lapsed.
		m.busy = DoNothing
		m.lose(now)
	}
	if m.busy != DoNothing {
		return Action{}
	}
	switch m.state {
	case Locking:
		return m.nextLocking(now)
	case Reading:
		return m.nextReading(now)
	case Owned:
		return m.nextOwned(now)
	case Giving:
		return m.nextGiving(now)
	case Commit:
		if m.resetting {
			return m.do(Action{Kind: DoCommit, Offset: m.resetTo})
		}
		if m.span.Committable() > m.span.Committed() {
			return m.do(Action{Kind: DoCommit, Offset: m.span.Committable()})
		}
		m.state = Unlock
		return m.do(Action{Kind: DoUnlock})
	case Unlock:
		return m.do(Action{Kind: DoUnlock})
	case Idle, Lost:
	}
	return Action{}
}

func (m *Machine) do(a Action) Action {
	m.busy = a.Kind
	return a
}

func (m *Machine) nextLocking(now time.Time) Action {
	switch {
	case len(m.onBehalf) > 0:
		id := m.onBehalf[0]
		if now.Sub(m.roster.ReadAt()) > m.config.Settle/2 || m.roster.Lists(id) {
			// The list is too old to act on, or was read anew since and has the id.
			m.onBehalf = nil
			return m.do(Action{Kind: DoReadList})
		}
		m.onBehalf = m.onBehalf[1:]
		return m.do(Action{Kind: DoUnlockFor, ID: id})
	case now.Before(m.retryAt):
		return Action{}
	case !m.listed():
		return m.do(Action{Kind: DoReadList})
	case !m.refusedAt.IsZero():
		if !m.roster.ReadAt().After(m.refusedAt) {
			return m.do(Action{Kind: DoReadList})
		}
		m.refused(now)
		return m.nextLocking(now)
	default:
		if m.settling && !m.rules.noSettle {
			m.beginFrom = now.Add(m.config.Settle)
		}
		m.settling = false
		return m.do(Action{Kind: DoLock})
	}
}

// listed tells whether the member found itself in a list that was read since it is connected.
func (m *Machine) listed() bool { return m.roster.Lists(m.self) && !m.roster.ReadAt().Before(m.backAt) }

// nextReading reads once messages may begin, and not before: while a reconnected member settles its first lock may be unlocked on
// its behalf, and another may take the queue, go on, and give it back before the renewal.
func (m *Machine) nextReading(now time.Time) Action {
	switch {
	case m.allowed:
		return m.do(Action{Kind: DoRead})
	case !m.wanted:
		m.state = Unlock
		return m.do(Action{Kind: DoUnlock})
	case !now.Before(m.renewAt):
		return m.do(Action{Kind: DoLock})
	}
	return Action{}
}

func (m *Machine) nextOwned(now time.Time) Action {
	if !now.Before(m.renewAt) {
		return m.do(Action{Kind: DoLock})
	}
	if m.span.Due() && (m.span.Pressing() || !now.Before(m.commitAt)) {
		m.commitAt = now.Add(m.config.Pace)
		return m.do(Action{Kind: DoCommit, Offset: m.span.Committable()})
	}
	return Action{}
}

func (m *Machine) nextGiving(now time.Time) Action {
	if m.span.InFlight() == 0 || m.rules.noDrain {
		m.state = Commit
		return m.Next(now)
	}
	if !now.Before(m.drainTill) {
		m.forced++
		m.state = Commit
		return m.Next(now)
	}
	if !now.Before(m.renewAt) {
		return m.do(Action{Kind: DoLock})
	}
	return Action{}
}

// Begin notes that a message begins; false says that it must not.
func (m *Machine) Begin(now time.Time, offset int64) bool {
	return m.MayBegin(now) && m.span.Begin(offset)
}

// Finish notes that a message of the life that began with the given span is done with.
func (m *Machine) Finish(life *Span, offset int64) {
	if life != nil {
		life.Finish(offset)
	}
}

// Abandon notes that the handler of a message of the life that began with the given span came to no outcome: the life ends
// without it, and the next owner begins it.
func (m *Machine) Abandon(life *Span, offset int64) {
	switch {
	case life == nil:
	case m.rules.abandonFinishes:
		life.Finish(offset)
	default:
		life.Abandon(offset)
	}
}

// Pass notes, in the life that began with the given span, that nothing of the group's below offset is left to begin (see
// [Span.Pass]). Once the queue is being given, or is lost, it does nothing: what a pull then left undone must not be passed.
func (m *Machine) Pass(life *Span, offset int64) {
	if m.state == Owned && m.span == life {
		life.Pass(offset)
	}
}

// Reset says that the queue is to be consumed from another offset on, which an operator has set, or which is the nearest that the broker
// has. The life ends as a planned one does, with that offset as its last commit, and the next one begins there; of several
// offsets the last one counts. It tells whether that is under way: a queue that isn't owned, or is being given, stays as it is.
func (m *Machine) Reset(now time.Time, offset int64) bool {
	switch {
	case m.state == Owned:
		m.give(now)
	case m.state == Giving && m.resetting:
	default:
		return false
	}
	m.resetTo, m.resetting = offset, true
	return true
}

// Settled tells whether the queue isn't held and nothing is under way that could make it so.
func (m *Machine) Settled() bool { return m.state == Idle && m.busy == DoNothing }

// Wake returns when Next must be called again if nothing happens before, a time that has passed where that is at once; false where
// nothing is due.
func (m *Machine) Wake() (time.Time, bool) {
	if m.busy != DoNothing || !m.connected && m.state != Lost {
		return time.Time{}, false
	}
	switch m.state {
	case Locking:
		return m.retryAt, true
	case Reading: // a renewal is waited for: anything else is under way
		return m.renewAt, true
	case Owned:
		switch {
		case !m.span.Due():
		case m.span.Pressing():
			return time.Time{}, true
		case m.commitAt.Before(m.renewAt):
			return m.commitAt, true
		}
		return m.renewAt, true
	case Giving:
		switch {
		case m.span.InFlight() == 0:
			return time.Time{}, true
		case m.drainTill.Before(m.renewAt):
			return m.drainTill, true
		}
		return m.renewAt, true
	case Lost:
		if m.span == nil || m.span.InFlight() == 0 {
			return time.Time{}, true
		}
		return m.drainTill, true
	case Idle, Commit, Unlock:
	}
	return time.Time{}, false
}
