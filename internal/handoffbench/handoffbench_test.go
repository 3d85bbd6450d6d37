package handoffbench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

func TestMain(m *testing.M) {
	MemberMain() // the lane and its stand-ins are this binary again
	os.Exit(m.Run())
}

// TestHandoffs runs the bench on a real broker: few rounds, or with GRAYCHAIN_E2E_FULL=1 those of the figures.
func TestHandoffs(t *testing.T) {
	c := Defaults()
	c.Namesrv = testenv.Namesrv(t)
	c.Rounds = 2
	if os.Getenv("GRAYCHAIN_E2E_FULL") == "1" {
		c.Rounds = 50
	}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := r.Write(&page); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + page.String())
	if r.Lost != 0 {
		t.Errorf("broke G5 nothing lost: %d messages of %d were handled by nobody", r.Lost, r.Messages)
	}
	if r.RepeatedPlanned != 0 || r.BeyondSpan != 0 {
		t.Errorf("broke G6 nothing twice: planned handoffs repeated %d messages, crashes %d beyond their spans", r.RepeatedPlanned, r.BeyondSpan)
	}
	if n := len(r.Handoffs); n != 4*c.Rounds || r.Messages == 0 {
		t.Errorf("%d handoffs and %d messages in %d rounds, want 4 a round and some", n, r.Messages, c.Rounds)
	}
}

// history is a run as its processes told it: one line each, "who: line".
func history(t *testing.T, killed string, ids []string, lines ...string) Result {
	t.Helper()
	r := &run{Config: Config{Rounds: 1}, record: newRecord("T"), killed: map[string]bool{killed: true}}
	for _, l := range lines {
		who, line, ok := strings.Cut(l, ": ")
		if !ok {
			t.Fatal(l)
		}
		r.record.take(who, line)
	}
	var list []sent
	for _, id := range ids {
		list = append(list, sent{id})
	}
	r.judge(list)
	return r.result
}

func TestJudge(t *testing.T) {
	var crowd, all []string
	for i := range ownership.DefaultSpan + 2 {
		id := fmt.Sprint("m", i)
		all = append(all, id)
		crowd = append(crowd, fmt.Sprintf("lane-1: b 1 T b/0 %d %s", i, id), fmt.Sprintf("stand-in-1: b 2 T b/0 %d %s", i, id), "stand-in-1: d "+id)
	}
	for _, tc := range []struct {
		name  string
		ids   []string
		lines []string
		want  Result
		ok    bool
	}{
		{"each once", []string{"x", "y"}, []string{"lane-1: b 1 T b/0 7 x", "lane-1: d x", "stand-in-1: b 2 T b/1 7 y", "stand-in-1: d y"}, Result{}, true},
		{"never begun", []string{"x"}, nil, Result{Lost: 1}, false},
		{"begun, its process killed, never again", []string{"x"}, []string{"lane-1: b 1 T b/0 7 x"}, Result{Lost: 1}, false},
		{"again after a kill, read in the other order", []string{"x"},
			[]string{"stand-in-1: b 2 T b/0 7 x", "stand-in-1: d x", "lane-1: b 1 T b/0 7 x"}, Result{RepeatedCrash: 1}, true},
		{"again after a clean stop", []string{"x"},
			[]string{"lane-2: b 1 T b/0 7 x", "lane-2: d x", "stand-in-1: b 2 T b/0 7 x", "stand-in-1: d x"}, Result{RepeatedPlanned: 1}, false},
		{"sent back though it was handled", []string{"x"},
			[]string{"lane-2: b 1 T b/0 7 x", "lane-2: d x", "lane-2: b 2 %RETRY%G b/0 0 x", "lane-2: d x"}, Result{RepeatedPlanned: 1}, false},
		{"stored twice", []string{"x"},
			[]string{"lane-2: b 1 T b/0 7 x", "lane-2: d x", "lane-2: b 2 T b/1 9 x", "lane-2: d x"}, Result{StoredTwice: 1}, true},
		{"more than a span", all, crowd, Result{RepeatedCrash: ownership.DefaultSpan + 2, BeyondSpan: 2}, false},
		{"noise", []string{"x"}, []string{"lane-2: b 1 T b/0 7 x", "lane-2: d x", "lane-2: hello", "lane-2: b x y z"}, Result{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := history(t, "lane-1", tc.ids, tc.lines...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got.OK() != tc.ok {
				t.Errorf("OK() = %v, want %v", got.OK(), tc.ok)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	r := Result{Config: Defaults()}
	for i := range 100 {
		r.Handoffs = append(r.Handoffs, Handoff{Round: i + 1, Kind: Crash, First: time.Duration(i+1) * time.Millisecond, All: time.Second})
	}
	first, all := r.Times(Crash)
	ms := time.Millisecond
	if diff := cmp.Diff(Times{100, 50 * ms, 99 * ms, 100 * ms}, first); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if all.Median != time.Second || !first.Met() || all.Met() {
		t.Errorf("all %+v, met %v and %v", all, first.Met(), all.Met())
	}
	if first, _ := r.Times(Stop); first != (Times{}) {
		t.Errorf("times of no stops: %+v", first)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kinds map[string]struct {
			Handoffs int
			First    struct{ P99 float64 } `json:"firstMessageMs"`
		}
		OK bool
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if k := got.Kinds["kill"]; k.Handoffs != 100 || k.First.P99 != 99 || !got.OK {
		t.Errorf("%+v in %s", got, b)
	}
}

func TestConfigCheck(t *testing.T) {
	good := Defaults()
	good.Namesrv = "127.0.0.1:9876"
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"rounds 0: want 1 to 1000":       func(c *Config) { c.Rounds = 0 },
		"rate 20001: want 1 to 20000":    func(c *Config) { c.Rate = 20_001 },
		"queues -1: want 1 to 256":       func(c *Config) { c.Queues = -1 },
		"stand-ins 17: want 1 to 16":     func(c *Config) { c.StandIns = 17 },
		"handler 1m0s: want 0s to 10s":   func(c *Config) { c.Handler = time.Minute },
		`name server "": want host:port`: func(c *Config) { c.Namesrv = "" },
	} {
		c := good
		change(&c)
		if err := c.Check(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMembersErrorIsQuoted(t *testing.T) {
	p, err := spawn("lane-1", memberConfig{Namesrv: "nowhere", Topic: "T", Group: "G", Tag: lane, Listed: time.Now()}, newRecord("T"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if err := p.await(t.Context(), p.ready, "ready"); !errors.Is(err, errMember) || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want the member's own words", err)
	}
}
