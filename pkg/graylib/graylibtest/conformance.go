package graylibtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Handler is the application at the far end of a hop: what an adapter under test gives it is what is judged.
type Handler func(ctx context.Context, payload string) (string, error)

// Cancellation says how far the end of a caller's context reaches.
type Cancellation string

// The reaches of a cancellation.
const (
	CancelsNothing Cancellation = ""       // the call goes on
	CancelsCall    Cancellation = "call"   // the call returns an error; the handler isn't told
	CancelsHandler Cancellation = "callee" // the handler's context ends too; a call that waits for it returns an error
)

// Features is what an adapter declares of itself. What is declared is checked to work; what isn't is checked to be absent
// in the way that its comment says. The table in docs/conformance.md is made of these.
type Features struct {
	// Protocol of the hop, as it stands in the chain. Empty: the hop is within one process (a goroutine, a pool), and there is
	// no arrival: the far end belongs to the caller's.
	Protocol graylib.Protocol
	// Keys are the names on the wire. They are zero within a process.
	Keys graylib.Keys

	Answers bool // Call returns the handler's answer. Else it returns when the work is handed over, with any or no answer
	Reason  bool // the callee's hop says why: from the wire or, without Keys.Reason, by its own lights. Else it has no reason
	Hops    bool // hops and messages come back to the caller; within a process messages alone. Else its chain has its own hop alone
	Chooses bool // the tag decides which instance handles it. Else nothing is judged of that

	// FailsOver: where an instance refuses the connection, the next one is tried; what may have been sent is not. It needs
	// [Link.Endpoint].
	FailsOver bool
	// Duplicates: the wire can bear a key several times, and the first value counts. Else [Link.Raw] gets one value each.
	Duplicates bool
	// Edge: the callee can be the gateway's, see [Setup.Edge]. Else the harness is never asked for it.
	Edge bool
	// NodeColour: a context without a tag that starts on an instance of a lane with colourFromNode gets the lane's tag.
	// Else it stays untagged.
	NodeColour bool

	// Sources are what rules can see of a call, or with Marks of a message. Those that have a key show the payload under
	// [SourceKey]; a body contains it. Other sources must show nothing. Empty: nothing is coloured by rules.
	Sources []graylib.From
	// Marks: rules are those for messages, which are coloured by what they say (marks); else those for calls (entries).
	Marks bool

	Cancels Cancellation

	// Notes stand in the table, for a reader.
	Notes string
}

// inProcess tells whether there is no wire.
func (f Features) inProcess() bool { return f.Protocol == "" }

// SourceKey is the key under which every source with a key shows the payload of a [Link.Call] to rules: a header, a
// query's or cookie's name, a metainfo key, a message's property.
const SourceKey = "PAYLOAD"

// Setup is what a harness shall open: one caller and its callees, all of the same service.
type Setup struct {
	Registry *Registry // what all runtimes of the setup have
	Rules    *Rules    // in force in all of them; a harness may set Consume before it starts anything
	Service  string    // the callees' service: what the caller calls, and a consumer group may be named after
	Caller   *graylib.Runtime
	Callees  []Callee
	// Edge: the callee takes requests from outside, as the gateway does: names that only our own services may set are
	// stripped, the request gets its id and trace, and its chain is reported.
	Edge bool
}

// Callee is one instance to start.
type Callee struct {
	Runtime *graylib.Runtime
	Handle  Handler
}

// Link is an opened setup.
type Link struct {
	// Call hands the payload over to the service through the adapter under test, in ctx. With [Features.Answers] it returns what
	// the handler returned. It is called by many goroutines at once.
	Call func(ctx context.Context, payload string) (string, error)
	// Raw hands the payload over as a stranger would, with these values on the wire and without any adapter at the sending
	// side, to the callee of that index (where the adapter has no addresses, to whom the values choose). It returns
	// what came back, by the names of [Features.Keys]; nil where nothing can. Raw is nil within a process.
	Raw func(ctx context.Context, callee int, wire map[string][]string, payload string) (back map[string]string, err error)
	// Endpoint is the callees' name in the registry; empty where nothing is looked up there.
	Endpoint string
}

// Harness is how the suite uses an adapter.
type Harness struct {
	Name     string // of the adapter and the way that it is used, e.g. "graykitex, unary"
	Features Features
	// Options are given to every runtime of the suite, beside registry, rules, reporter and logger.
	Options []graylib.Option
	// Within bounds the wait for a handler, or for its call to return. The default is 10 s.
	Within time.Duration
	// Open starts what the setup says, and returns when a call would reach any of the callees. It ends all of it by t.Cleanup.
	Open func(t testing.TB, s *Setup) Link
}

// Run checks an adapter, each check in a subtest of its own. A failure quotes the promise (G1 to G10 of DESIGN.md) that
// is broken:
//
//	func TestConformance(t *testing.T) {
//		graylibtest.Run(t, graylibtest.Harness{Name: "mybus", Features: features, Open: open})
//	}
//
// It is worth running under the race detector. Checks of what a feature's absence means are among them, so that a declaration is
// neither too long nor too short.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if err := h.validate(); err != nil {
		t.Fatal(err)
	}
	for _, st := range stages() {
		if st.applies != nil && !st.applies(h.Features) {
			continue
		}
		t.Run(st.name, func(t *testing.T) {
			s := openScene(t, h, st)
			for _, c := range st.checks {
				if c.applies != nil && !c.applies(h.Features) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					for _, problem := range s.judge(c) {
						t.Error(problem)
					}
				})
			}
		})
	}
}

// Checks returns the names of all checks, "<stage>/<check>", with the promise that each holds, in the order in which they are run.
func Checks() [][2]string {
	var list [][2]string
	for _, st := range stages() {
		for _, c := range st.checks {
			list = append(list, [2]string{st.name + "/" + c.name, c.promise})
		}
	}
	return list
}

// validate tells what is wrong with a declaration.
func (h Harness) validate() error {
	f := h.Features
	var wrong []string
	say := func(bad bool, what string) {
		if bad {
			wrong = append(wrong, what)
		}
	}
	say(h.Name == "", "Name is empty")
	say(h.Open == nil, "Open is nil")
	say(f.inProcess() != (f.Keys == graylib.Keys{}), "Keys and Protocol belong together")
	say(!f.inProcess() && f.Keys.Tag == "", "Keys.Tag is empty")
	say(f.Reason && !f.Chooses, "Reason needs Chooses: it says why")
	say(f.Hops && !f.inProcess() && f.Keys.Hops == "", "Hops needs Keys.Hops")
	say(f.FailsOver && !f.Chooses, "FailsOver needs Chooses")
	say(f.Edge && (f.inProcess() || f.Marks), "Edge needs a wire with a way back")
	say(f.Marks && len(f.Sources) == 0, "Marks needs Sources")
	say(f.inProcess() && (f.NodeColour || f.Chooses || len(f.Sources) > 0), "within a process nothing is coloured or chosen")
	say(f.Cancels == CancelsCall && !f.Answers, "a call that doesn't wait has nothing to cancel")
	if len(wrong) > 0 {
		return fmt.Errorf("graylibtest: declaration of %q: %s", h.Name, strings.Join(wrong, "; "))
	}
	return nil
}
