package graynacos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// Where the rules in force come from (graylib.RulesStatus).
const (
	originNacos = "nacos"
	originDisk  = "disk"
	originNone  = "none"
)

// staleFor is how long after a push reads may still give an older document: 100 ms on an idle server, more on a busy one.
const staleFor = 2 * time.Second

// Rules is a [graylib.RulesSource] on Nacos's config centre. It is safe for concurrent use.
//
// A document that is empty, deleted, malformed, or may not follow the last good one is refused: the last good one stays,
// and [Rules.Status] says why. With Nacos away at the start the last good one comes from the disk.
type Rules struct {
	cluster *cluster
	opts    options
	log     *slog.Logger
	client  *lazy[configClient]
	disk    disk

	cancel context.CancelCauseFunc
	first  chan struct{} // closed after the first read, however it ended
	done   chan struct{} // closed when the reading has ended
	pushes chan struct{}
	close  sync.Once

	inForce atomic.Pointer[graylib.Rules]

	mu       sync.Mutex
	current  *document // nil = none is known
	origin   string
	readAt   time.Time
	pushedAt time.Time // when a push last put a document in force
	refusal  string
	refusals int64
	lastRead string
	everRead bool
	attended attendance
	away     bool
	unkept   *document // in force, and not written to the disk yet
	watchers map[*func(graylib.Rules)]struct{}

	keeping sync.Mutex // held before mu, while the disk is written to
}

var _ graylib.RulesSource = (*Rules)(nil)

func newRules(c *cluster, log *slog.Logger, o options, d disk, client func() (configClient, error)) *Rules {
	s := &Rules{
		cluster: c, opts: o, log: log, client: start(client), disk: d,
		first: make(chan struct{}), done: make(chan struct{}), pushes: make(chan struct{}, 1),
		origin: originNone, watchers: make(map[*func(graylib.Rules)]struct{}),
	}
	s.inForce.Store(&graylib.NoRules)
	s.load()
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	go s.run(ctx)
	return s
}

// Rules implements [graylib.RulesSource].
func (s *Rules) Rules() graylib.Rules { return *s.inForce.Load() }

// Status implements [graylib.RulesSource]. ReadAt is the time at which the newest read began that gave the document in force then;
// what came with a push since is newer, and is read at once. It is zero for a document that no read has given: one from the disk that
// Nacos hasn't confirmed, or the very first one in the moment between its push and its read.
func (s *Rules) Status() graylib.RulesStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := graylib.RulesStatus{Origin: s.origin, ReadAt: s.readAt, Refusal: s.refusal, Refusals: s.refusals}
	if s.current != nil {
		st.Revision = s.current.rules.Revision()
	}
	return st
}

// Watch implements [graylib.RulesSource]. Calls come one after the other, in the documents' order. fn must not call the
// source's other methods but Rules.
func (s *Rules) Watch(fn func(graylib.Rules)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := &fn
	s.watchers[key] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, key)
	}
}

// Close implements [graylib.RulesSource]. The rules in force stay.
func (s *Rules) Close() error {
	s.close.Do(func() {
		s.cancel(ErrClosed)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.stop()
			if client, err := s.client.get(context.Background()); err == nil {
				closeConfig(client)
			}
		}()
		t := time.NewTimer(s.opts.timeout)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C: // a request hangs; the rest is done when it returns
		}
	})
	return nil
}

// stop ends the reading and the listening: without anything to listen to the client uses its connection no more.
func (s *Rules) stop() {
	s.cancel(ErrClosed)
	<-s.done
	if client, err := s.client.get(context.Background()); err == nil {
		_ = client.CancelListenConfig(s.param())
	}
}

func (s *Rules) param() vo.ConfigParam {
	return vo.ConfigParam{DataId: s.opts.rulesDataID, Group: s.opts.rulesGroup}
}

// load puts the document from the disk in force, where there is a good one.
func (s *Rules) load() {
	content, err := s.disk.load()
	if err == nil && content == nil {
		return
	}
	var d *document
	if err == nil {
		d, err = newDocument(string(content))
	}
	if err == nil {
		err = d.follows(nil, rules.Reading{At: time.Now()})
	}
	if err != nil {
		s.log.Warn("the rules document on disk is no good and is left alone", "path", s.disk.path, "error", flat(err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putInForce(d, originDisk)
	s.log.Info("rules from disk", "revision", d.rules.Revision(), "path", s.disk.path)
}

// run reads when the schedule says so, until ctx ends.
func (s *Rules) run(ctx context.Context) {
	defer close(s.done)
	firstDone := sync.OnceFunc(func() { close(s.first) })
	defer firstDone()
	client, err := s.client.get(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.failed(err)
		}
		return
	}
	// The listener comes before the first read: the client takes only the changes after it for changes.
	listen := s.param()
	listen.OnChange = func(_, _, _, content string) {
		if ctx.Err() == nil {
			s.offer(content, time.Now())
			notify(s.pushes)
		}
	}
	if err := client.ListenConfig(listen); err != nil {
		s.log.Warn("changes of the rules are found by polling alone", "error", oneLine(err))
	}
	var when schedule
	for {
		now := time.Now()
		timer := time.NewTimer(when.next(now).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.pushes:
			timer.Stop()
			when.pushed(time.Now())
			continue
		case <-timer.C:
		}
		began := time.Now()
		content, err := client.GetConfig(s.param())
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			when.read(began, s.take(content, began), false)
		case passing(err):
			when.read(began, false, true)
			when.again(began)
			continue // it says nothing about Nacos
		default:
			s.failed(err)
			when.read(began, false, true)
		}
		firstDone()
	}
}

// failed notes a read without an answer. What is in force stays, and a refusal too.
func (s *Rules) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return
	}
	s.away = true
	s.log.Warn("can't read the rules, going on trying; what is known stays in force",
		"origin", s.origin, "revision", s.revision(), "error", s.cluster.failed(err))
}

func (s *Rules) revision() int64 {
	if s.current == nil {
		return 0
	}
	return s.current.rules.Revision()
}

// take judges what a read that began at a time returned, and tells whether it is another text than the last read's.
func (s *Rules) take(content string, began time.Time) (changed bool) {
	defer s.keep()
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = !s.everRead || content != s.lastRead
	s.lastRead, s.everRead = content, true
	s.attended.read(began, changed)
	if s.away {
		s.away = false
		s.log.Info("the rules can be read again", "nacos", s.cluster.String())
	}
	switch {
	case s.current != nil && content == s.current.content:
		s.origin, s.readAt = originNacos, began
		s.attended.confirmed()
		if s.refusal != "" {
			s.refusal = ""
			s.log.Info("the rules document is the one in force again", "revision", s.revision())
		}
	case strings.TrimSpace(content) == "" && s.current == nil:
		if changed {
			s.log.Info("there is no rules document yet", "dataId", s.opts.rulesDataID, "group", s.opts.rulesGroup)
		}
		s.refusal = ""
	case strings.TrimSpace(content) == "":
		s.refuse(errors.New("the document is empty or was deleted"))
	default:
		s.judge(content, began)
	}
	return changed
}

// offer takes over what came with a push where it may follow the one in force: a read right after it may still give the older
// text. Whatever else is said of a push's text is left to the reads that follow it: pushes overtake each other. For the same reason a push vouches for nothing: when the
// rules were last known to be the newest stays what the reads say.
func (s *Rules) offer(content string, at time.Time) {
	if strings.TrimSpace(content) == "" {
		return
	}
	defer s.keep()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.content == content {
		return
	}
	if d, err := newDocument(content); err == nil && d.follows(s.current, s.attended.pushed(at)) == nil {
		s.pushedAt = at
		s.accept(d)
	}
}

// judge accepts or refuses a text that isn't the one in force. What was refused is judged again at each read: time may
// allow it (a lane may leave some time after it was forgotten).
func (s *Rules) judge(content string, began time.Time) {
	d, err := newDocument(content)
	if err == nil {
		err = d.follows(s.current, s.attended.reading(time.Now()))
	}
	if errors.Is(err, rules.ErrRevision) && began.Before(s.pushedAt.Add(staleFor)) {
		return // the read lags behind the push; what says so for longer is refused
	}
	if err != nil {
		s.refuse(err)
		return
	}
	s.readAt = began
	s.attended.confirmed()
	s.accept(d)
}

// accept puts a document in force that Nacos told of. It is called with the lock held; keep follows without it.
func (s *Rules) accept(d *document) {
	old := s.revision()
	s.refusal = ""
	s.putInForce(d, originNacos)
	s.log.Info("rules in force", "revision", s.revision(), "before", old)
	s.unkept = d
}

// keep writes the document in force to the disk, where it isn't there yet. It is called without the lock: a disk may take long, and
// the status doesn't wait for it.
func (s *Rules) keep() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	d := s.unkept
	s.unkept = nil
	s.mu.Unlock()
	if d == nil {
		return
	}
	if err := s.disk.save([]byte(d.content)); err != nil {
		s.log.Warn("the rules can't be kept on disk: a start with Nacos away will know none; set "+graylib.EnvState+
			" to a folder that can be written", "path", s.disk.path, "error", err)
	}
}

func (s *Rules) refuse(err error) {
	why := flat(err)
	if s.current != nil {
		why = fmt.Sprintf("%s; revision %d stays in force", why, s.revision())
	}
	if why == s.refusal {
		return
	}
	s.refusal = why
	s.refusals++
	s.log.Warn("refused the rules document", "dataId", s.opts.rulesDataID, "group", s.opts.rulesGroup, "refusal", why)
}

// putInForce is called with the lock held.
func (s *Rules) putInForce(d *document, origin string) {
	s.current, s.origin = d, origin
	s.inForce.Store(&d.rules)
	for fn := range s.watchers {
		(*fn)(d.rules)
	}
}

// flat makes one line of an error that may hold one for each problem.
func flat(err error) string {
	return strings.Join(strings.Split(strings.TrimSpace(err.Error()), "\n"), "; ")
}
