package rulescmd

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// nacosLike is a config centre with a history and a registry.
type nacosLike struct {
	*memStore
	past      []rules.Version // newest first, what is published not included
	instances []graylib.Instance
}

func (n *nacosLike) History(_ context.Context, limit int) ([]rules.Version, error) {
	now := rules.Version{ID: "9", Content: []byte(n.content), At: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), By: "eve@10.0.0.1"}
	now.Judge()
	all := append([]rules.Version{now}, n.past...)
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return all, nil
}

func (n *nacosLike) Instances(context.Context) ([]graylib.Instance, error) { return n.instances, nil }

func version(content string) rules.Version {
	v := rules.Version{Content: []byte(content)}
	v.Judge()
	return v
}

func TestHistoryAndRollback(t *testing.T) {
	before := strings.NewReplacer("revision: 12", "revision: 11", "value: 5", "value: 1").Replace(published)
	fresh := func() *nacosLike {
		return &nacosLike{memStore: &memStore{content: published}, past: []rules.Version{version(""), version("lanes: x\n"), version(before)}}
	}
	for _, tt := range []struct {
		name, stdout, stderr, errText string
		args                          []string
		err                           error
		after                         string
	}{
		{name: "history", args: []string{"history"}, stdout: `REVISION +PUBLISHED +BY +WHAT
12 +2026-11-22T10:00:00Z +eve@10\.0\.0\.1 +1 lane \(gray\), 2 entries, 1 consumer, 0 marks
- +before +- +refused: the document is empty or was deleted
- +before +- +refused: line 1: lanes: .*
11 +before +- +1 lane \(gray\), 2 entries, 1 consumer, 0 marks
`},
		{name: "history, some", args: []string{"history", "--limit=1"}, stdout: `REVISION.*\n12 .*\n`},
		{name: "history of one", args: []string{"history", "--revision=11"}, stdout: regexp.QuoteMeta(before)},
		{name: "history of none", args: []string{"history", "--revision=3"}, err: rules.ErrNoVersion, errText: "revision 3 at nacos .*"},
		{name: "history as JSON", args: []string{"history", "--output=json"}, stdout: `(?s)\[\n  \{\n    "revision": 12,.*`},
		{name: "history, bad limit", args: []string{"history", "--limit=0"}, errText: "--limit is 0; want 1 to 500"},
		{name: "history, bad output", args: []string{"history", "--output=xml"}, errText: `--output is "xml"; want text or json`},
		{name: "rollback", args: []string{"rollback", "--to=11"}, stdout: `published revision 13 \(before: 12\) at nacos .*: 1 lane \(gray\), 2 entries, 1 consumer, 0 marks\n`,
			after: strings.Replace(before, "revision: 11", "revision: 13", 1)},
		{name: "rollback to what never was", args: []string{"rollback", "--to=3"}, err: rules.ErrNoVersion, errText: `revision 3: .*: it has 11, 12 \(.*`},
		{name: "rollback, no revision", args: []string{"rollback"}, errText: "--to is missing: .*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := fresh()
			stdout, stderr, err := runWith(t, store, nil, tt.args...)
			if (err == nil) != (tt.errText == "") || tt.err != nil && !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %q", err, tt.errText)
			}
			if err != nil {
				match(t, "error", tt.errText, err.Error())
			}
			match(t, "stdout", tt.stdout, stdout)
			if err == nil {
				match(t, "stderr", tt.stderr, stderr)
			}
			if tt.after == "" {
				tt.after = published
			}
			if diff := cmp.Diff(tt.after, store.content); diff != "" {
				t.Errorf("published (-want +got):\n%s", diff)
			}
		})
	}
	if _, _, err := runWith(t, &memStore{content: published}, nil, "history"); !errors.Is(err, errNoHistory) {
		t.Errorf("a store without a history: %v", err)
	}
}

func TestStatus(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 1, 0, time.UTC)
	answers := map[string]graylib.Status{}
	server := func(instance string, status graylib.RulesStatus) string {
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != graylib.StatusPath {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			_ = json.NewEncoder(w).Encode(graylib.Status{Instance: instance, Rules: status})
		}))
		t.Cleanup(ts.Close)
		answers[instance] = graylib.Status{}
		return strings.TrimPrefix(ts.URL, "http://")
	}
	good := graylib.RulesStatus{Revision: 12, Origin: "nacos", ReadAt: at}
	a := graylib.Instance{ID: "a-1", Service: "a", Addr: server("a-1", good)}
	b := graylib.Instance{ID: "b-1", Service: "b", Tag: "gray", Addr: server("b-1", good)}
	brpc := graylib.Instance{ID: "b-1", Service: "b.rpc", Tag: "gray", Addr: "127.0.0.1:1"}
	old := graylib.Instance{ID: "c-1", Service: "c", Addr: server("c-1", graylib.RulesStatus{Revision: 11, Origin: "disk"})}
	refuses := graylib.Instance{ID: "c-2", Service: "c", Addr: server("c-2", graylib.RulesStatus{Revision: 12, Origin: "nacos", ReadAt: at, Refusal: "line 1: x; revision 12 stays in force"})}
	other := graylib.Instance{ID: "c-3", Service: "c", Addr: server("else", good)}
	gone := graylib.Instance{ID: "c-4", Service: "c", Addr: "127.0.0.1:1"}
	blind := graylib.Instance{ID: "d-1", Service: "d.rpc", Addr: "127.0.0.1:1"}
	for _, tt := range []struct {
		name      string
		content   string
		instances []graylib.Instance
		want      string
		err       error
	}{
		{"all are there", published, []graylib.Instance{brpc, a, b}, `published is revision 12 at nacos .*; 2 of 2 live instances are there
SERVICE +TAG +ADDR +REVISION +FROM +READ +PROBLEM
a +- +127\.0\.0\.1:\d+ +12 +nacos +2026-11-22T10:00:01Z +-
b +gray +127\.0\.0\.1:\d+ +12 +nacos +2026-11-22T10:00:01Z +-
`, nil},
		{"nobody lives", published, nil, `published is revision 12 at nacos .*; 0 of 0 live instances are there\n`, nil},
		{"one is behind", published, []graylib.Instance{a, old}, `(?s).*1 of 2 live .*c +- .* 11 +disk +- +on revision 11, published is 12\n`, ErrReported},
		{"one refuses", published, []graylib.Instance{refuses}, `(?s).*0 of 1 live instance is there\n.*refused: line 1: x; revision 12 stays in force\n`, ErrReported},
		{"another answers", published, []graylib.Instance{other}, `(?s).*unknown: instance "else" answers at its address\n`, ErrReported},
		{"one doesn't answer", published, []graylib.Instance{gone}, `(?s).*- +- +- +unknown: .*connection refused\n`, ErrReported},
		{"one can't be asked", published, []graylib.Instance{blind}, `(?s).*d +- +- +- +- +- +unknown: it has no HTTP endpoint in the registry to ask\n`, ErrReported},
		{"what is published is broken", "lanes: x\n", []graylib.Instance{a}, `(?s)what is published is refused: line 1: lanes: .* at nacos .*`, ErrReported},
		{"nothing is published, but someone goes on with a revision", "", []graylib.Instance{a}, `(?s)no rules document is published at .*on revision 12, published is 0\n`, ErrReported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slices.Reverse(tt.instances) // the order doesn't matter
			store := &nacosLike{memStore: &memStore{content: tt.content}, instances: tt.instances}
			stdout, _, err := runWith(t, store, nil, "status")
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			match(t, "stdout", tt.want, stdout)
			stdout, _, err = runWith(t, store, nil, "status", "--output=json")
			var st fleetStatus
			if e := json.Unmarshal([]byte(stdout), &st); e != nil || !errors.Is(err, tt.err) || st.settled() != (tt.err == nil) {
				t.Errorf("as JSON: %v, %v:\n%s", e, err, stdout)
			}
		})
	}
}

// --wait waits until all are there, and no longer.
func TestStatusWaits(t *testing.T) {
	asked := 0
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		st := graylib.Status{Instance: "a-1", Rules: graylib.RulesStatus{Revision: 11, Origin: "nacos"}}
		if asked++; asked > 2 {
			st.Rules.Revision = 12
		}
		_ = json.NewEncoder(w).Encode(st)
	}))
	defer ts.Close()
	store := &nacosLike{memStore: &memStore{content: published}, instances: []graylib.Instance{{ID: "a-1", Service: "a", Addr: strings.TrimPrefix(ts.URL, "http://")}}}
	if stdout, _, err := runWith(t, store, nil, "status", "--wait=30s"); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v:\n%s", asked, err, stdout)
	}
}
