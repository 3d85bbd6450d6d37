package graylibtest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

var keys = graylib.HTTPKeys

// drop takes a name off.
func drop(name string) func(labels) { return func(l labels) { delete(l, name) } }

// TestFaultsAreFound gives the suite adapters with mistakes: each must be found by the check that is there for it.
func TestFaultsAreFound(t *testing.T) {
	for name, tc := range map[string]struct {
		f        func() faults
		features func(*graylibtest.Features)
		want     []string // checks that must fail
	}{
		"the tag is lost":                 {f: func() faults { return faults{in: drop(keys.Tag)} }, want: []string{"hop/tag", "hop/concurrency"}},
		"the request id is lost":          {f: func() faults { return faults{in: drop(keys.RequestID)} }, want: []string{"hop/request id and trace"}},
		"the trace is lost":               {f: func() faults { return faults{in: drop(keys.TraceParent)} }, want: []string{"hop/request id and trace"}},
		"the trace's state is lost":       {f: func() faults { return faults{in: drop(keys.TraceState)} }, want: []string{"hop/request id and trace"}},
		"the reason is lost":              {f: func() faults { return faults{in: drop(keys.Reason)} }, want: []string{"hop/reason"}},
		"hops are lost":                   {f: func() faults { return faults{back: drop(keys.Hops)} }, want: []string{"hop/hops back", "hop/hops on the wire"}},
		"messages are lost":               {f: func() faults { return faults{back: drop(keys.Messages)} }, want: []string{"hop/hops back"}},
		"a worker remembers a tag":        {f: remembers, want: []string{"hop/tagless", "hop/reuse"}},
		"one context for all calls":       {f: oneContext, want: []string{"hop/concurrency", "hop/reuse"}},
		"a fresh context at the client":   {f: freshAtClient, want: []string{"hop/tag", "hop/cancellation"}},
		"a fresh context at the server":   {f: freshAtServer, want: []string{"hop/tag", "hop/hops back"}},
		"the handler is called twice":     {f: twice, want: []string{"hop/tag"}},
		"the last of duplicates counts":   {f: lastCounts, want: []string{"hop/duplicates"}},
		"a malformed tag fails a request": {f: failsOnMalformed, want: []string{"hop/malformed tag"}},
		"a malformed tag is mended":       {f: mends, want: []string{"hop/malformed tag"}},
		"a malformed tag is hidden":       {f: hides, want: []string{"hop/malformed tag"}},
		"the cancellation is kept back":   {f: uncancelled, want: []string{"hop/cancellation"}},
		"an error is swallowed":           {f: swallows, want: []string{"hop/cancellation"}},
		"instances have no tag":           {f: untaggedInstances, want: []string{"hop/tag", "hop/reason", "rules/coloured by a rule", "rules/propagate false"}},
		"the gateway doesn't strip":       {f: func() faults { return faults{edge: true} }, want: []string{"edge/forged names are stripped"}},
		"the edge keeps the request id":   {f: func() faults { return faults{back: drop(keys.RequestID)} }, want: []string{"edge/forged names are stripped"}},
		"propagate: false is ignored":     {f: leaksLocal, want: []string{"rules/propagate false", "node, propagate false/nothing on the wire"}},
		"calls are coloured twice":        {f: recolours, want: []string{"rules/a tag is never changed"}},

		"an undeclared reason":       {features: func(f *graylibtest.Features) { f.Reason = false }, want: []string{"hop/reason"}},
		"undeclared hops":            {features: func(f *graylibtest.Features) { f.Hops = false }, want: []string{"hop/hops back"}},
		"an undeclared source":       {features: func(f *graylibtest.Features) { f.Sources = f.Sources[:1] }, want: []string{"rules/sources"}},
		"undeclared rules":           {features: func(f *graylibtest.Features) { f.Sources = nil }, want: []string{"rules/coloured by a rule"}},
		"an undeclared cancellation": {features: func(f *graylibtest.Features) { f.Cancels = graylibtest.CancelsNothing }, want: []string{"hop/cancellation"}},
		"half a cancellation":        {features: func(f *graylibtest.Features) { f.Cancels = graylibtest.CancelsCall }, want: []string{"hop/cancellation"}},
		"undeclared colour":          {features: func(f *graylibtest.Features) { f.NodeColour = false }, want: []string{"node/coloured from the node"}},
		"a source too many": {features: func(f *graylibtest.Features) {
			f.Sources = append(slices.Clone(f.Sources), graylib.FromMethod)
		}, want: []string{"rules/sources"}},
		"marks without sources": {features: func(f *graylibtest.Features) { f.Marks, f.Sources = true, nil }, want: []string{"declaration"}},
		"no name for the tag":   {features: func(f *graylibtest.Features) { f.Keys.Tag = "" }, want: []string{"declaration"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f faults
			if tc.f != nil {
				f = tc.f()
			}
			features := courierFeatures
			if tc.features != nil {
				tc.features(&features)
			}
			found := graylibtest.Problems(t, graylibtest.Harness{
				Name: name, Features: features, Within: time.Second,
				Open: func(t testing.TB, s *graylibtest.Setup) graylibtest.Link { return openFaulty(t, s, f) },
			})
			for _, check := range tc.want {
				if len(found[check]) == 0 {
					t.Errorf("%s found nothing; found by %q", check, slices.Sorted(maps.Keys(found)))
				}
			}
			for check, problems := range found {
				if check != "declaration" && !strings.HasPrefix(problems[0], "broke ") {
					t.Errorf("%s doesn't say what is broken: %s", check, problems[0])
				}
			}
		})
	}
}

// TestNothingIsFoundInAGoodAdapter holds the suite against false alarms.
func TestNothingIsFoundInAGoodAdapter(t *testing.T) {
	if found := graylibtest.Problems(t, graylibtest.Harness{Name: "courier", Features: courierFeatures, Open: openCourier}); len(found) > 0 {
		t.Error(found)
	}
}

// remembers is a server that takes what it isn't told from the request before.
func remembers() faults {
	var mu sync.Mutex
	last := ""
	return faults{in: func(l labels) {
		mu.Lock()
		defer mu.Unlock()
		if tag := labelCarrier(l).Get(keys.Tag); tag != "" {
			last = tag
		} else {
			labelCarrier(l).Set(keys.Tag, last)
		}
	}}
}

// oneContext is a client that keeps the context of its first call.
func oneContext() faults {
	var first sync.Map
	return faults{call: func(ctx context.Context) context.Context {
		kept, _ := first.LoadOrStore("context", ctx)
		return kept.(context.Context)
	}}
}

func freshAtClient() faults {
	return faults{call: func(context.Context) context.Context { return context.Background() }}
}

func freshAtServer() faults {
	return faults{handle: func(next graylibtest.Handler) graylibtest.Handler {
		return func(_ context.Context, payload string) (string, error) { return next(context.Background(), payload) }
	}}
}

func twice() faults {
	return faults{handle: func(next graylibtest.Handler) graylibtest.Handler {
		return func(ctx context.Context, payload string) (string, error) {
			if _, err := next(ctx, payload); err != nil {
				return "", err
			}
			return next(ctx, payload)
		}
	}}
}

func lastCounts() faults {
	return faults{in: func(l labels) {
		if v := l[keys.Tag]; len(v) > 1 {
			l[keys.Tag] = v[len(v)-1:]
		}
	}}
}

func failsOnMalformed() faults {
	return faults{raw: func(l labels) error {
		_, err := graylib.ParseTag(labelCarrier(l).Get(keys.Tag))
		return err
	}}
}

func mends() faults {
	return faults{raw: func(l labels) error {
		if v := l[keys.Tag]; len(v) > 0 {
			l[keys.Tag] = []string{strings.ToLower(v[0])}
		}
		return nil
	}}
}

func hides() faults {
	return faults{raw: func(l labels) error {
		if v := l[keys.Tag]; len(v) > 0 && !graylib.Tag(v[0]).Valid() {
			delete(l, keys.Tag)
		}
		return nil
	}}
}

func uncancelled() faults {
	return faults{handle: func(next graylibtest.Handler) graylibtest.Handler {
		return func(ctx context.Context, payload string) (string, error) {
			return next(context.WithoutCancel(ctx), payload)
		}
	}}
}

func swallows() faults {
	return faults{answer: func(payload, answer string, err error) (string, error) {
		if errors.Is(err, context.Canceled) {
			return "answer to " + payload, nil
		}
		return answer, err
	}}
}

func untaggedInstances() faults {
	return faults{own: func(graylib.Tag) graylib.Tag { return graylib.Untagged }}
}

// leaksLocal is a server that takes the lane of the instance for the tag of the request.
func leaksLocal() faults {
	return faults{in: func(l labels) {
		if labelCarrier(l).Get(keys.Tag) == "" {
			labelCarrier(l).Set(keys.Tag, "gray")
		}
	}}
}

// recolours is a client that forgets the tag where a rule may speak.
func recolours() faults {
	return faults{call: func(ctx context.Context) context.Context {
		if graylib.TagFrom(ctx) == "a-tag-of-the-greatest-length-32b" {
			return graylib.WithTag(ctx, graylib.Untagged)
		}
		return ctx
	}}
}
