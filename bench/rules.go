package main

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// The document of the bench: 100 entries of one service over 10 lanes, none of which picks the request, so that all are
// evaluated.
const (
	rulesLanes   = 10
	rulesEntries = 100
)

// rulesKinds are what the entries look at.
var rulesKinds = []struct {
	name       string
	conditions []string
}{
	{"one header, ==", []string{`{from: header, key: x-header-1, op: "==", value: user-%d}`}},
	{"a mix: header, query, cookie, ip; ==, in, prefix, >, percent, exists", []string{
		`{from: header, key: x-header-1, op: "==", value: user-%d}`,
		`{from: query, key: x-header-3, op: in, value: [a-%[1]d, b-%[1]d, c-%[1]d]}`,
		`{from: cookie, key: x-header-5, op: prefix, value: none-%d}`,
		`{from: header, key: x-header-7, op: ">", value: %d}`,
		`{from: header, key: x-header-7, op: percent, value: 0}, {from: header, key: x-header-7, op: "==", value: '%d'}`,
		`{from: ip, op: in, value: [10.%d.0.0/16]}`,
		`{from: header, key: x-absent, op: exists}, {from: header, key: x-header-0, op: "==", value: '%d'}`,
	}},
	{"the body too (a JSON field in one of ten)", []string{
		`{from: body, key: user.name, op: "==", value: user-%d}`,
		`{from: header, key: x-header-1, op: "==", value: user-%d}`, `{from: header, key: x-header-2, op: "==", value: user-%d}`,
		`{from: header, key: x-header-3, op: "==", value: user-%d}`, `{from: header, key: x-header-4, op: "==", value: user-%d}`,
		`{from: header, key: x-header-5, op: "==", value: user-%d}`, `{from: header, key: x-header-6, op: "==", value: user-%d}`,
		`{from: header, key: x-header-7, op: "==", value: user-%d}`, `{from: header, key: x-header-0, op: "==", value: user-%d}`,
		`{from: query, key: x-header-0, op: "==", value: user-%d}`,
	}},
}

func compiledRules(conditions []string) (*rules.Rules, error) {
	var sb strings.Builder
	sb.WriteString("lanes:\n")
	for i := range rulesEntries {
		if i%(rulesEntries/rulesLanes) == 0 {
			fmt.Fprintf(&sb, "- tag: %s\n  entries:\n", laneTag(i/(rulesEntries/rulesLanes)))
		}
		fmt.Fprintf(&sb, "  - {name: entry-%d, service: a, path: /dubbo, when: [%s]}\n", i, fmt.Sprintf(conditions[i%len(conditions)], i))
	}
	doc, err := rules.Parse([]byte(sb.String()))
	if err != nil {
		return nil, err
	}
	return rules.Compile(doc)
}

// rulesRequest is a request with a few headers, like an adapter's.
type rulesRequest struct {
	headers [8][2]string
	body    []byte
}

func newRulesRequest() *rulesRequest {
	r := &rulesRequest{body: []byte(`{"user":{"name":"lisi"}}`)}
	for i := range r.headers {
		r.headers[i] = [2]string{fmt.Sprintf("x-header-%d", i), fmt.Sprintf("value-%d", i)}
	}
	return r
}

// Value implements graylib.Request.
func (r *rulesRequest) Value(from graylib.From, key string, i int) (string, bool) {
	if i > 0 {
		return "", false
	}
	switch from {
	case graylib.FromHeader, graylib.FromQuery, graylib.FromCookie:
		for _, h := range r.headers {
			if h[0] == key {
				return h[1], true
			}
		}
	case graylib.FromPath:
		return "/dubbo", true
	case graylib.FromIP:
		return "192.0.2.7", true
	}
	return "", false
}

// Body implements graylib.Request.
func (r *rulesRequest) Body() []byte { return r.body }

func rulesContestants() ([]contestant, error) {
	var out []contestant
	for _, kind := range rulesKinds {
		compiled, err := compiledRules(kind.conditions)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		req := newRulesRequest()
		out = append(out, contestant{kind.name, func(n int) {
			for range n {
				if d, ok := compiled.Colour("a", req); ok {
					panic(fmt.Sprintf("coloured: %+v", d))
				}
			}
		}})
	}
	return out, nil
}

// swapped is what readers see while the rules are swapped all the time, and while they aren't.
type swapped struct {
	still, swapping []float64 // the 99th percentile of one evaluation, nanoseconds, one for each slice
	swaps           int64     // per second
	evaluations     int
}

// measureSwapping times each evaluation by itself, in slices without and with swaps beside them. The rules in force are
// one atomic pointer, as the sources of the library hold them.
func measureSwapping(rounds int) (swapped, error) {
	var revisions [2]graylib.Rules
	for i := range revisions {
		compiled, err := compiledRules(rulesKinds[0].conditions)
		if err != nil {
			return swapped{}, err
		}
		revisions[i] = compiled
	}
	var inForce atomic.Pointer[graylib.Rules]
	inForce.Store(&revisions[0])
	req := newRulesRequest()
	const each = 5000
	var out swapped
	took := make([]float64, each)
	slice := func() float64 {
		for i := range took {
			began := time.Now()
			if _, ok := (*inForce.Load()).Colour("a", req); ok {
				panic("coloured")
			}
			took[i] = float64(time.Since(began).Nanoseconds())
		}
		slices.Sort(took)
		out.evaluations += each
		return took[each*99/100]
	}
	var swaps int64
	var span time.Duration
	for range rounds {
		out.still = append(out.still, slice())
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			tick := time.NewTicker(100 * time.Microsecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
					inForce.Store(&revisions[i%2])
					swaps++
				}
			}
		}()
		began := time.Now()
		out.swapping = append(out.swapping, slice())
		span += time.Since(began)
		close(stop)
		<-stopped
	}
	out.swaps = int64(float64(swaps) / span.Seconds())
	return out, nil
}
