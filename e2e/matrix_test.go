package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// TestMatrix sends every kind of request over every protocol through every shape of a lane, and looks for each hop where
// [placed] has it (G1, G2, G3, G9). A run in full takes all combinations, make check those of [cut].
//
// The shapes are walked through in such an order that one instance starts or stops from each to the next.
func TestMatrix(t *testing.T) {
	s := chain(t)
	listMatrixLanes(t, s)
	if err := s.AddLane(t.Context(), otherLane, otherLaneServices...); err != nil {
		t.Fatalf("lane %s with %v: %v", otherLane, otherLaneServices, err)
	}
	t.Cleanup(func() { removeMatrixLane(t, s, otherLane) })
	t.Cleanup(func() { removeMatrixLane(t, s, theLane) })

	began, done, hops := time.Now(), 0, 0
	for i, shape := range matrixShapes {
		reshape(t, s, shape)
		w, err := s.World(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var cases []matrixCase
		for j, kind := range matrixKinds {
			for k, protocol := range matrixProtocols {
				if full() || cut(i, j, k) {
					cases = append(cases, matrixCases(s, shape, kind, protocol)...)
				}
			}
		}
		t.Run("lane="+shape.String(), func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name(), func(t *testing.T) {
					t.Parallel()
					c.check(t, s, w)
				})
			}
		})
		done += len(cases)
		hops += 3 * len(cases)
	}
	t.Logf("%d shapes of lane %s, %d requests, %d hops behind the gateway, in %v",
		len(matrixShapes), theLane, done, hops, time.Since(began).Round(100*time.Millisecond))
}

// The lanes of the matrix: the one whose shape changes, and another listed one with instances of its own.
const (
	theLane   graylib.Tag = "teal"
	otherLane graylib.Tag = "navy"
)

var otherLaneServices = []string{"b"}

// shape is which of a, b and c have an instance in [theLane].
type shape []string

func (s shape) String() string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ",")
}

// matrixShapes are all subsets of {a, b, c}; each differs from the one before in one service.
var matrixShapes = []shape{{}, {"a"}, {"a", "b"}, {"b"}, {"b", "c"}, {"a", "b", "c"}, {"a", "c"}, {"c"}}

// kind is what is special about a request.
type kind string

const (
	kindUntagged  kind = "untagged"
	kindGray      kind = "gray"  // an entry picks it for theLane
	kindOther     kind = "other" // an entry picks it for otherLane
	kindMalformed kind = "malformed"
	kindForged    kind = "forged" // it says itself that it is theLane's
)

var matrixKinds = []kind{kindUntagged, kindGray, kindOther, kindMalformed, kindForged}

// matrixProtocol is one of the chain's three forms.
type matrixProtocol struct {
	name string
	path string           // of a
	hop  graylib.Protocol // between the services
}

var matrixProtocols = []matrixProtocol{
	{"http", "/a", graylib.ProtocolHTTP},
	{"rpc", "/dubbo", graylib.ProtocolRPC},
	{"stream", "/stream", graylib.ProtocolRPC},
}

// cut tells whether the i-th shape, j-th kind and k-th protocol are a combination of the cut: every pair of two of them
// is in it, which TestCutIsPairwise holds it to.
func cut(i, j, k int) bool { return (i+j)%len(matrixProtocols) == k }

func TestCutIsPairwise(t *testing.T) {
	seen := map[[4]int]bool{}
	n := 0
	for i := range matrixShapes {
		for j := range matrixKinds {
			for k := range matrixProtocols {
				if cut(i, j, k) {
					n++
					seen[[4]int{0, 1, i, j}], seen[[4]int{0, 2, i, k}], seen[[4]int{1, 2, j, k}] = true, true, true
				}
			}
		}
	}
	shapes, kinds, protocols := len(matrixShapes), len(matrixKinds), len(matrixProtocols)
	if want := shapes*kinds + shapes*protocols + kinds*protocols; len(seen) != want {
		t.Errorf("%d combinations hold %d pairs, want all %d", n, len(seen), want)
	}
}

// matrixCase is one request at one door.
type matrixCase struct {
	shape    shape
	kind     kind
	protocol matrixProtocol
	door     *suite.Instance // nil: the gateway; else the instance of a that is asked directly
}

func (c matrixCase) name() string {
	door := "gateway"
	if c.door != nil {
		door = c.door.Name
	}
	return fmt.Sprintf("%s,%s,at=%s", c.kind, c.protocol.name, door)
}

// matrixCases is a request of a kind at the gateway and, where the gateway would strip what is special about it, at each
// instance of a directly.
func matrixCases(s *suite.Suite, shape shape, kind kind, protocol matrixProtocol) []matrixCase {
	cases := []matrixCase{{shape, kind, protocol, nil}}
	if kind != kindMalformed && kind != kindForged {
		return cases
	}
	for _, i := range s.Instances() {
		if i.Service == "a" && i.Live() {
			cases = append(cases, matrixCase{shape, kind, protocol, i})
		}
	}
	return cases
}

// What a request of a kind says of itself. The forged one says it in every form that has a meaning anywhere in the chain.
const (
	malformedTag  = "Teal!"
	forgedID      = "forged-request-id"
	matrixQuery   = "lane"
	matrixCookies = "session=1"
)

func (c matrixCase) request() suite.Request {
	r := suite.Request{Path: "/A" + c.protocol.path, Query: map[string][]string{}, Header: http.Header{"Cookie": {matrixCookies}}}
	if c.door != nil {
		r.Path = c.protocol.path
	}
	switch c.kind {
	case kindGray:
		r.Query.Set(matrixQuery, string(theLane))
	case kindOther:
		r.Query.Set(matrixQuery, string(otherLane))
	case kindMalformed:
		r.Header.Set("x-gray-tag", malformedTag)
	case kindForged:
		for _, name := range []string{"x-gray-tag", "x_gray_tag", "rpc-persist-gray-tag", "rpc-transit-gray-tag", "gray_tag"} {
			r.Header[name] = []string{string(theLane)} // names as they are, not as net/http would spell them
		}
		r.Header.Set("x-gray-reason", "lane")
		r.Header.Set("baggage", "user=1,gray-tag="+string(theLane))
		r.Header.Set("x-request-id", forgedID)
	}
	return r
}

// tag is what the request must be from a on: at the gateway the rules alone decide, at a the header is believed.
func (c matrixCase) tag() graylib.Tag {
	switch {
	case c.kind == kindGray, c.kind == kindForged && c.door != nil:
		return theLane
	case c.kind == kindOther:
		return otherLane
	}
	return graylib.Untagged
}

// place is where one hop must be.
type place struct {
	Service  string
	Tag      graylib.Tag // of the instance
	Request  graylib.Tag
	Protocol graylib.Protocol
	Reason   graylib.Reason
}

// placed is where the hops of a case must be: written down from DESIGN.md's G1 and G2, without graylib's own choosing.
func (c matrixCase) placed() []place {
	tag := c.tag()
	var out []place
	for i, service := range []string{"a", "b", "c"} {
		p := place{Service: service, Request: tag, Protocol: c.protocol.hop, Reason: "baseline"}
		var has bool
		switch tag {
		case theLane:
			has = slices.Contains(c.shape, service)
		case otherLane:
			has = service == "b"
		}
		switch {
		case has:
			p.Tag, p.Reason = tag, "lane"
		case tag != graylib.Untagged:
			p.Reason = "fallback: no instance"
		}
		if i == 0 {
			p.Protocol = graylib.ProtocolHTTP
			if c.door != nil {
				p.Tag, p.Reason = c.door.Tag, "" // we chose it, and what its caller says of why is not looked at
			}
		}
		out = append(out, p)
	}
	return out
}

// check sends the request and holds the answer, and what the observer knows of it, against the places.
func (c matrixCase) check(t *testing.T, s *suite.Suite, w verdict.World) {
	r := c.request()
	var a suite.Answer
	var err error
	if c.door == nil {
		a, err = s.Send(t.Context(), r)
	} else {
		a, err = suite.Do(t.Context(), http.DefaultClient, "http://"+c.door.HTTP, r)
	}
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: status %d, %s, %v", r, a.Status, a.Error, err)
	}
	var got []place
	for _, h := range a.Hops {
		if h.Service != "gateway" {
			got = append(got, place{h.Service, h.Tag, h.RequestTag, h.Protocol, h.Reason})
		}
	}
	want := c.placed()
	if c.door != nil && len(got) > 0 {
		got[0].Reason = ""
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("broke G1 routing: hop %d to %s is missing", i+1, want[i].Service)
		case i >= len(want):
			t.Errorf("broke G1 routing: there is a hop %d to %s", i+1, got[i].Service)
		case got[i] != want[i]:
			t.Errorf("broke %s: hop %d is %+v, want %+v", brokenBy(got[i], want[i]), i+1, got[i], want[i])
		}
	}
	c.addressed(t, s, a.Hops)
	if a.Tag != c.tag() {
		t.Errorf("broke G3 propagation: the answer has tag %s, want %s", a.Tag, c.tag())
	}
	messages := 0
	if c.protocol.name == "rpc" {
		messages = 1
	}
	if len(a.Messages) != messages {
		t.Errorf("%d messages were sent, want %d: %+v", len(a.Messages), messages, a.Messages)
	}
	for _, m := range a.Messages {
		if m.Tag != c.tag() {
			t.Errorf("broke G3 propagation: message %s has tag %s, want %s", m.ID, m.Tag, c.tag())
		}
	}
	if c.door == nil {
		if a.RequestID == forgedID || a.RequestID == "" {
			t.Errorf("broke G9 trust: the request has id %q", a.RequestID)
		}
		c.judge(t, s, w, a)
	}
}

// brokenBy names the promise that a hop in a wrong place breaks.
func brokenBy(got, want place) string {
	switch {
	case got.Request != want.Request:
		return "G3 propagation"
	case want.Request == graylib.Untagged && got.Tag != graylib.Untagged:
		return "G2 isolation"
	}
	return "G1 routing"
}

// addressed holds each hop's address against the instances that the suite has started: a hop can't only claim its tag.
func (c matrixCase) addressed(t *testing.T, s *suite.Suite, hops []graylib.Hop) {
	t.Helper()
	for _, h := range hops {
		if !slices.ContainsFunc(s.Instances(), func(i *suite.Instance) bool {
			return i.Live() && i.Service == h.Service && i.Tag == h.Tag && (i.HTTP == h.Addr || i.RPC == h.Addr)
		}) {
			t.Errorf("hop %s with tag %s says that it is at %s, where no such instance is", h.Service, h.Tag, h.Addr)
		}
	}
}

// judge has the judge of all other tests look at what the observer got, the chains behind messages included.
func (c matrixCase) judge(t *testing.T, s *suite.Suite, w verdict.World, a suite.Answer) {
	t.Helper()
	want := verdict.ForPath("/A"+c.protocol.path, c.tag())
	_, v, err := s.JudgeBy(t.Context(), a.RequestID, w, patience, func(observer.Loop) verdict.Want { return want })
	if err != nil {
		t.Fatal(err)
	}
	if !v.Closed {
		t.Errorf("%s\nanswer: %s", v, a.Text)
	}
}

// listMatrixLanes has the rules list both lanes, each with an entry that any path of a falls under.
func listMatrixLanes(t *testing.T, s *suite.Suite) {
	t.Helper()
	if _, err := s.Publish(t.Context(), func(current []byte) ([]byte, error) {
		doc := &rules.Document{}
		if len(current) > 0 {
			var err error
			if doc, err = rules.Parse(current); err != nil {
				return nil, err
			}
		}
		for _, tag := range []graylib.Tag{theLane, otherLane} {
			if slices.ContainsFunc(doc.Lanes, func(l rules.Lane) bool { return l.Tag == tag }) {
				continue
			}
			lane := rules.Lane{Tag: tag, Entries: []rules.Entry{{Name: "matrix-" + string(tag), Service: "a", When: []rules.Condition{
				{From: graylib.FromQuery, Key: matrixQuery, Op: rules.OpEqual, Value: rules.Value{string(tag)}},
			}}}}
			var err error
			if current, err = rules.AddLane(current, lane); err != nil {
				return nil, err
			}
		}
		return current, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// reshape starts and stops instances until the lane has exactly those of the shape, and returns when all callers know.
func reshape(t *testing.T, s *suite.Suite, shape shape) {
	t.Helper()
	for _, service := range []string{"a", "b", "c"} {
		i := s.Instance(service + "-" + string(theLane))
		var err error
		switch want := slices.Contains(shape, service); {
		case want && i == nil:
			err = s.AddLane(t.Context(), theLane, service)
		case want && !i.Live():
			err = i.Start(t.Context())
		case !want && i != nil && i.Live():
			err = i.Stop(t.Context())
		}
		if err != nil {
			t.Fatalf("lane %s to become %s: %v", theLane, shape, err)
		}
	}
}

func removeMatrixLane(t *testing.T, s *suite.Suite, tag graylib.Tag) {
	t.Helper()
	if !slices.ContainsFunc(s.Instances(), func(i *suite.Instance) bool { return i.Tag == tag }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 60*time.Second)
	defer cancel()
	if err := s.RemoveLane(ctx, tag); err != nil {
		t.Errorf("lane %s did not go: %v", tag, err)
	}
}
