package graylibtest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// The tags of the suite. Both are listed in its rules; only the first has an instance.
const (
	laneTag  graylib.Tag = "gray"
	otherTag graylib.Tag = "a-tag-of-the-greatest-length-32b"
)

// stage is one setup with the checks that are made on it.
type stage struct {
	name    string
	applies func(Features) bool // nil: always
	caller  graylib.Tag         // own tag
	callees []graylib.Tag       // own tags; the first one is the baseline's
	edge    bool
	rules   func(*scene, *Rules)
	checks  []check
}

// check is one thing that every adapter must do.
type check struct {
	name    string
	promise string              // what is broken where it fails
	applies func(Features) bool // nil: always
	run     func(*scene)
}

// scene is an opened stage.
type scene struct {
	Harness
	t        testing.TB
	link     Link
	setup    *Setup
	caller   *graylib.Runtime
	events   Reporter
	warnings warnings
	decide   atomic.Pointer[func(callee string, req graylib.Request) (graylib.Decision, bool)] // what the rules say
	next     atomic.Int64

	mu       sync.Mutex
	sights   map[string][]sight // by payload
	hooks    map[string]func(context.Context)
	problems []string
}

// sight is what a handler saw.
type sight struct {
	own       graylib.Tag // of the instance
	tag       graylib.Tag
	wire      values // what the handler would hand on
	traceID   string
	clientIP  string
	hops      []graylib.Hop
	cancelled bool // before the handler began
}

// values are what a context would put on the wire, by the names of graylib.HTTPKeys.
type values = graylib.MapCarrier

func openScene(t testing.TB, h Harness, st stage) *scene {
	t.Helper()
	if h.Within == 0 {
		h.Within = 10 * time.Second
	}
	s := &scene{Harness: h, t: t, sights: make(map[string][]sight), hooks: make(map[string]func(context.Context))}
	rules := &Rules{
		// Of an own group for a lane's messages nobody but the lane takes any; those of the other lane, which has no instance, are
		// the baseline's.
		Consume: graylib.Consumption{Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{laneTag}, Default: graylib.ModeAll, Filter: graylib.FilterServer},
	}
	for _, tag := range []graylib.Tag{laneTag, otherTag} {
		rules.List = append(rules.List, graylib.Lane{Tag: tag, Listed: time.Now().Add(-time.Hour), State: graylib.LaneActive, Propagate: true})
	}
	if st.rules != nil {
		st.rules(s, rules)
	}
	s.setup = &Setup{Registry: NewRegistry(), Rules: rules, Service: "callee", Edge: st.edge}
	s.caller = s.runtime("caller", st.caller)
	s.setup.Caller = s.caller
	for _, own := range st.callees {
		rt := s.runtime(s.setup.Service, own)
		s.setup.Callees = append(s.setup.Callees, Callee{Runtime: rt, Handle: s.handler(rt)})
	}
	s.link = h.Open(t, s.setup)
	if s.link.Call == nil || (s.link.Raw == nil) != h.Features.inProcess() || s.link.Endpoint == "" && h.Features.FailsOver {
		t.Fatalf("%s: Open returned a link that doesn't fit the declaration: Call %t, Raw %t, Endpoint %q", h.Name, s.link.Call != nil, s.link.Raw != nil, s.link.Endpoint)
	}
	return s
}

func (s *scene) runtime(service string, own graylib.Tag) *graylib.Runtime {
	s.t.Helper()
	id := graylib.Identity{Service: service, Tag: own, Instance: service + "-" + own.String()}
	rt, err := graylib.New(id, append([]graylib.Option{
		graylib.WithRegistry(s.setup.Registry.As(id)), graylib.WithRules(s.setup.Rules), graylib.WithReporter(&s.events),
		graylib.WithLogger(slog.New(&s.warnings)),
	}, s.Options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { // after everything that the harness has opened
		if err := rt.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return rt
}

// handler is the application of one callee.
func (s *scene) handler(rt *graylib.Runtime) Handler {
	own := rt.Identity().Tag
	return func(ctx context.Context, payload string) (string, error) {
		saw := sight{
			own: own, tag: graylib.TagFrom(ctx), wire: values{}, traceID: graylib.TraceIDFrom(ctx),
			clientIP: graylib.ClientIPFrom(ctx), cancelled: ctx.Err() != nil,
		}
		graylib.Inject(ctx, graylib.HTTPKeys, saw.wire)
		saw.hops, _ = graylib.Chain(ctx)
		graylib.RecordMessage(ctx, graylib.Message{ID: payload, Topic: "conformance", Tag: saw.tag})
		s.mu.Lock()
		hook := s.hooks[payload]
		s.mu.Unlock()
		if hook != nil {
			hook(ctx)
		}
		s.mu.Lock()
		s.sights[payload] = append(s.sights[payload], saw)
		s.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return "", err
		}
		return "answer to " + payload, nil
	}
}

// judge runs one check and returns what it found, each with the promise that it breaks.
func (s *scene) judge(c check) []string {
	s.mu.Lock()
	s.problems = nil
	s.mu.Unlock()
	c.run(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, len(s.problems))
	for i, p := range s.problems {
		list[i] = fmt.Sprintf("broke %s: %s", c.promise, p)
	}
	return list
}

// problem notes a failure. The first few of a check tell enough.
func (s *scene) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.problems) < 5 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

// payload returns one that was never used.
func (s *scene) payload() string { return fmt.Sprintf("payload-%d", s.next.Add(1)) }

// hook has a handler do something more with that payload.
func (s *scene) hook(payload string, f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[payload] = f
}

// saw waits for the handler of a payload to have returned. It is false, and a problem, where that doesn't happen.
func (s *scene) saw(payload string) (sight, bool) {
	var list []sight
	if !s.eventually(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		list = s.sights[payload]
		return len(list) > 0
	}) {
		s.problem("%s reached no handler within %v", payload, s.Within)
		return sight{}, false
	}
	if len(list) > 1 {
		s.problem("%s was handled %d times", payload, len(list))
	}
	return list[0], true
}

func (s *scene) eventually(ok func() bool) bool {
	for deadline := time.Now().Add(s.Within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// request is what a call is made in.
type request struct {
	tag, id, parent, state string
}

// arrive returns a context as a request's handler at the caller has it.
func (s *scene) arrive(ctx context.Context, r request) (context.Context, *graylib.Arrival) {
	c := graylib.MapCarrier{}
	k := graylib.HTTPKeys
	c.Set(k.Tag, r.tag)
	c.Set(k.RequestID, r.id)
	c.Set(k.TraceParent, r.parent)
	c.Set(k.TraceState, r.state)
	return s.caller.Arrive(ctx, graylib.ProtocolHTTP, k, c)
}

// send makes one call in ctx and waits for its handler.
func (s *scene) send(ctx context.Context, payload string) (sight, bool) {
	got, err := s.link.Call(ctx, payload)
	if err != nil {
		s.problem("Call(%s): %v", payload, err)
		return sight{}, false
	}
	if want := "answer to " + payload; s.Features.Answers && got != want {
		s.problem("Call(%s) = %q, want %q", payload, got, want)
	}
	return s.saw(payload)
}

// raw sends values as a stranger does, and waits for the handler.
func (s *scene) raw(callee int, wire map[string][]string) (sight, map[string]string, bool) {
	payload := s.payload()
	back, err := s.link.Raw(context.Background(), callee, wire, payload)
	if err != nil {
		s.problem("Raw(%s) with %v: %v", payload, clipped(wire), err)
		return sight{}, nil, false
	}
	saw, ok := s.saw(payload)
	return saw, back, ok
}

// wire makes the values of a raw request.
func wire(pairs ...string) map[string][]string {
	m := make(map[string][]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = append(m[pairs[i]], pairs[i+1])
	}
	return m
}

// clipped is a wire as a failure shows it.
func clipped(wire map[string][]string) string {
	var b strings.Builder
	for k, values := range wire {
		for _, v := range values {
			if len(v) > 60 {
				v = fmt.Sprintf("%s… (%d bytes)", v[:60], len(v))
			}
			fmt.Fprintf(&b, "%s=%q ", k, v)
		}
	}
	return strings.TrimSpace(b.String())
}

// warnings counts records of slog by what they begin with.
type warnings struct {
	mu   sync.Mutex
	text []string
}

// Enabled implements [slog.Handler].
func (*warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, r.Message)
	return nil
}

// WithAttrs implements [slog.Handler].
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w *warnings) WithGroup(string) slog.Handler { return w }

// count returns the number of records whose message contains the text.
func (w *warnings) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, t := range w.text {
		if strings.Contains(t, text) {
			n++
		}
	}
	return n
}
