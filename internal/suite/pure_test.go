package suite

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

func TestPlace(t *testing.T) {
	for _, tc := range []struct {
		name     string
		slot     int
		services []string
		fixed    bool
		taken    []int
		want     Ports
		err      string
	}{
		{name: "the baseline", services: Services, want: DefaultPorts},
		{name: "a lane", slot: 1, services: Laned, want: DefaultPorts.shifted(100)},
		{name: "the third lane", slot: 3, services: Laned, want: DefaultPorts.shifted(300)},
		{name: "one taken moves all", services: Services, taken: []int{20002}, want: DefaultPorts.shifted(10)},
		{name: "an RPC port taken moves all", slot: 1, services: Laned, taken: []int{13180, 20113}, want: DefaultPorts.shifted(120)},
		{name: "taken by whom it isn't for", slot: 1, services: []string{"a"}, taken: []int{20102, 12180}, want: DefaultPorts.shifted(100)},
		{name: "fixed", services: Services, fixed: true, taken: []int{20002}, err: "port taken: 20002 of b (HTTP): want a free one"},
		{name: "all taken", services: []string{"c"}, taken: []int{20003, 20013, 20023, 20033, 20043, 20053, 20063, 20073, 20083, 20093}, err: "20003 of c (HTTP)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := place(DefaultPorts, tc.slot, tc.services, tc.fixed, func(p int) bool {
				for _, x := range tc.taken {
					if x == p {
						return true
					}
				}
				return false
			})
			if tc.err != "" {
				if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one that contains %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPortsValid(t *testing.T) {
	if err := DefaultPorts.Valid(); err != nil {
		t.Error(err)
	}
	p := DefaultPorts
	p.CRPC = p.Gateway
	if err := p.Valid(); err == nil || !strings.Contains(err.Error(), "20000") {
		t.Errorf("the same port twice: %v", err)
	}
	if err := DefaultPorts.shifted(60000).Valid(); err == nil {
		t.Error("port 80000 is taken for one")
	}
}

func TestLaneCheck(t *testing.T) {
	for _, tc := range []struct {
		lane Lane
		want string
	}{
		{Baseline, ""},
		{Lane{"gray", []string{"a", "c"}}, ""},
		{Lane{"gray", nil}, ""},
		{Lane{"gray", []string{"gateway"}}, `no such service in a lane: "gateway": want some of a,b,c`},
		{Lane{"gray", []string{"a", "a"}}, `"a" is named twice`},
		{Lane{"Gray", []string{"a"}}, `malformed tag "Gray"`},
	} {
		err := tc.lane.check()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: error %v, want %q", tc.lane, err, tc.want)
		}
	}
}

func TestMissing(t *testing.T) {
	want := map[string]map[graylib.Tag]int{"a": {"": 1, "gray": 1}, "b": {"": 2}}
	for _, tc := range []struct {
		name   string
		routes graylib.Routes
		want   string
	}{
		{"nobody called yet", nil, ""},
		{"all known", graylib.Routes{"a": {"": 1, "gray": 1}, "b.rpc": {"": 2}}, ""},
		{"a lane not heard of", graylib.Routes{"a": {"": 1}}, "gateway knows 0 of 1 live instances of a in lane gray"},
		{"one of two", graylib.Routes{"b.rpc": {"": 1}}, "gateway knows 1 of 2 live instances of b.rpc in the baseline"},
		{"a lane that has gone", graylib.Routes{"b": {"": 2, "gray": 1}}, "gateway still knows 1 instances of b in lane gray"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := missing("gateway", tc.routes, want); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDemoDocument(t *testing.T) {
	published := func(content []byte) []byte { // as Apply would
		doc := string(content)
		return []byte(strings.ReplaceAll(doc, "- tag: gray\n", "- tag: gray\n    listed: 2026-11-22T10:00:00Z\n"))
	}
	content, demo, err := demoDocument(nil, "gray", graylib.ModeIgnore)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := compile(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if d, ok := doc.Colour("a", demoRequest("xiaoming")); !ok || d.Tag != "gray" || demo.Name != "xiaoming" {
		t.Errorf("xiaoming gets %v %v, the demo's name is %q", d, ok, demo.Name)
	}
	if _, ok := doc.Colour("a", demoRequest("zhangsan")); ok {
		t.Error("another name is coloured")
	}
	if got := doc.Consumption("a", "test-a", "TEST_MQ").Mode("gray"); got != graylib.ModeIgnore {
		t.Errorf("mode %s, want ignore", got)
	}

	// Of an existing document the lanes and entries stay, and the mode follows.
	mine := strings.Replace(string(published(content)), `"xiaoming"`, `"lisi"`, 1) + "# my comment\n"
	content, demo, err = demoDocument([]byte(mine), "gray", graylib.ModeAll)
	if err != nil {
		t.Fatal(err)
	}
	doc, err = compile(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if _, ok := doc.Colour("a", demoRequest("lisi")); !ok || !strings.Contains(string(content), "# my comment") {
		t.Errorf("the document changed:\n%s", content)
	}
	if got := doc.Consumption("a", "test-a", "TEST_MQ").Mode("gray"); got != graylib.ModeAll {
		t.Errorf("mode %s, want all", got)
	}
	if notes := strings.Join(demo.Notes, "; "); !strings.Contains(notes, "do not give name=xiaoming the tag gray") {
		t.Errorf("notes %q don't say that xiaoming isn't picked", notes)
	}

	// A further lane gets a name of its own where an earlier one takes xiaoming.
	first, _, _ := demoDocument(nil, "gray", graylib.ModeIgnore)
	content, demo, err = demoDocument(published(first), "blue", graylib.ModeIgnore)
	if err != nil {
		t.Fatal(err)
	}
	doc, err = compile(content)
	if err != nil {
		t.Fatalf("%v\n%s", err, content)
	}
	if d, _ := doc.Colour("a", demoRequest(demo.Name)); d.Tag != "blue" || demo.Name != "xiaoming-blue" {
		t.Errorf("name %q gets lane %q, want blue", demo.Name, d.Tag)
	}
	for _, tag := range []graylib.Tag{"gray", "blue"} {
		if got := doc.Consumption("a", "test-a", "TEST_MQ").Mode(tag); got != graylib.ModeIgnore {
			t.Errorf("mode of %s is %s, want ignore", tag, got)
		}
	}
	// And leaves the other lane's mode alone when its own changes.
	content, err = fitMode(content, "blue", graylib.ModeAuto)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ = compile(content)
	of := doc.Consumption("a", "test-a", "TEST_MQ")
	if gray, blue := of.Mode("gray"), of.Mode("blue"); gray != graylib.ModeIgnore || blue != graylib.ModeAuto {
		t.Errorf("after blue went to auto, gray is in %s and blue in %s, want ignore and auto", gray, blue)
	}
	if _, err := fitMode(content, "blue", "some"); err == nil {
		t.Error("a mode that doesn't exist is accepted")
	}
}

func TestMoreSpecificEntryIsSaid(t *testing.T) {
	content := `revision: 1
lanes:
  - {tag: gray, listed: 2026-11-22T10:00:00Z, entries: [{name: x, service: a, when: [{from: query, key: name, op: "==", value: xiaoming}]}]}
messages:
  - {consumer: a, group: test-a, baseline: ignore, ignore: [gray]}
`
	_, demo, err := demoDocument([]byte(content), "gray", graylib.ModeAll)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(demo.Notes, "; "); !strings.Contains(notes, "more specific keeps lane gray in mode ignore") {
		t.Errorf("notes: %q", notes)
	}
}

func TestExpectedTag(t *testing.T) {
	lane := func(service string, propagate bool) []byte {
		l := rules.Lane{Tag: "gray", Propagate: rules.Bool(propagate), Entries: []rules.Entry{{Name: "x", Service: service, When: []rules.Condition{
			{From: graylib.FromCookie, Key: "user", Op: rules.OpEqual, Value: rules.Value{"1"}},
		}}}}
		out, err := rules.AddLane([]byte("# empty\n"), l)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	hit := Request{Path: "/A/dubbo", Header: http.Header{"Cookie": {"user=1"}}}
	miss := Request{Path: "/A/dubbo", Header: http.Header{}}
	for _, tc := range []struct {
		name    string
		content []byte
		request Request
		tag     graylib.Tag
		certain bool
	}{
		{"no rules", nil, hit, "", true},
		{"picked", lane("a", true), hit, "gray", true},
		{"not picked", lane("a", true), miss, "", true},
		{"picked for one callee", lane("a", false), hit, "gray", false},
		{"perhaps picked further down", lane("b", true), hit, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := compile(tc.content)
			if err != nil {
				t.Fatal(err)
			}
			if tag, certain := expectedTag(doc, tc.request); tag != tc.tag || certain != tc.certain {
				t.Errorf("tag %q, certain %v, want %q, %v", tag, certain, tc.tag, tc.certain)
			}
		})
	}
}

func TestParseRequest(t *testing.T) {
	r, err := ParseRequest("/A/dubbo?name=xiaoming&x=a%20b")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(url.Values{"name": {"xiaoming"}, "x": {"a b"}}, r.Query); diff != "" || r.Path != "/A/dubbo" {
		t.Errorf("path %q, query (-want +got):\n%s", r.Path, diff)
	}
	if got := r.String(); got != "GET /A/dubbo?name=xiaoming&x=a+b" {
		t.Errorf("String %q", got)
	}
	for _, bad := range []string{"", "A/dubbo", "http://elsewhere/A/dubbo", "//elsewhere/A", "/A?x=%zz", "/%zz"} {
		if _, err := ParseRequest(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestWorldOf(t *testing.T) {
	doc, err := compile([]byte(`revision: 3
lanes:
  - {tag: gray, listed: 2026-11-22T10:00:00Z}
  - {tag: old, listed: 2026-11-22T10:00:00Z, state: retired}
messages: [{consumer: a, baseline: ignore, ignore: [gray, old]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	w := worldOf(doc, map[graylib.Tag]map[string]bool{"": {"a": true}, "gray": {"a": true}, "new": {"b": true}}, "TEST_MQ")
	if g := w.Lanes["gray"]; !g.Listed || g.Mode != graylib.ModeIgnore || !g.Live["a"] {
		t.Errorf("gray %+v", g)
	}
	if n := w.Lanes["new"]; n.Listed || n.Mode != graylib.ModeAuto || !n.Live["b"] {
		t.Errorf("an unlisted lane %+v", n)
	}
	if o := w.Lanes["old"]; !o.Listed || o.Mode != graylib.ModeAuto {
		t.Errorf("a retired lane %+v", o)
	}
	if _, baseline := w.Lanes[""]; baseline {
		t.Error("the baseline counts as a lane")
	}
}
