package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

type loggerKey struct{}

// arrived is a context as a handler gets it: of a request with the given tag, that has arrived and can be cancelled.
func arrived(t testing.TB, rt *graylib.Runtime, tag graylib.Tag) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), loggerKey{}, "its logger"))
	ctx, _ = rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
		"x-gray-tag": string(tag), "x-request-id": "r1", "traceparent": goodTrace, "tracestate": "a=b",
	})
	return ctx, cancel
}

func TestDetachKeepsWhatTheRequestCarries(t *testing.T) {
	ctx, cancel := arrived(t, newRuntime(t, graylib.Identity{Service: "a"}), "gray")
	detached := graylib.Detach(ctx)
	cancel(errors.New("the client went away"))

	if err := detached.Err(); err != nil {
		t.Errorf("ended with its request: %v", err)
	}
	if cause := context.Cause(detached); cause != nil {
		t.Errorf("ended with its request's cause: %v", cause)
	}
	if detached.Done() != nil {
		t.Error("can be cancelled")
	}
	limited, stop := context.WithTimeout(ctx, time.Hour)
	defer stop()
	if _, ok := graylib.Detach(limited).Deadline(); ok {
		t.Error("has a deadline")
	}
	if got := detached.Value(loggerKey{}); got != "its logger" {
		t.Errorf("another value of the context became %v", got)
	}
	out := graylib.MapCarrier{}
	graylib.Inject(detached, graylib.HTTPKeys, out)
	if out["x-gray-tag"] != "gray" || out["x-request-id"] != "r1" || out["traceparent"] != goodTrace || out["tracestate"] != "a=b" {
		t.Errorf("a call from it carries %v", out)
	}
	child, stop := context.WithCancel(detached)
	stop()
	if child.Err() == nil || detached.Err() != nil {
		t.Errorf("a child that ends: %v, its parent %v", child.Err(), detached.Err())
	}
}

func TestDetachLeavesTheAnswerAlone(t *testing.T) {
	rt := newRuntime(t, graylib.Identity{Service: "a"}, graylib.WithHops())
	ctx, cancel := arrived(t, rt, "gray")
	defer cancel(nil)
	var watched []string
	ctx = graylib.WatchMessages(ctx, func(m graylib.Message) { watched = append(watched, m.ID) })
	outer, _ := rt.Depart(ctx, "b", nil)
	detached := graylib.Detach(outer)

	if graylib.CallFrom(detached) != nil {
		t.Error("belongs to the call that it was made in")
	}
	graylib.RecordMessage(detached, graylib.Message{ID: "late"})
	_, call := rt.Depart(detached, "b", nil)
	call.Return(graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": `[{"service":"b","tag":"gray","instance":"b-gray-1"}]`})
	if hops, messages := graylib.Chain(ctx); len(hops) != 1 || len(messages) != 0 || len(watched) != 0 {
		t.Errorf("the answer has hops %v, messages %v, watched %v", hops, messages, watched)
	}
	if hops, messages := graylib.Chain(detached); len(hops)+len(messages) != 0 {
		t.Errorf("detached work has a chain: %v, %v", hops, messages)
	}
	graylib.RecordMessage(ctx, graylib.Message{ID: "in time"})
	if _, messages := graylib.Chain(ctx); len(messages) != 1 || len(watched) != 1 {
		t.Errorf("the request itself: messages %v, watched %v", messages, watched)
	}
}

// A lane may begin to colour from its nodes while a request is being served: the untagged work that it left behind stays
// untagged, and work that began on the node itself is coloured, detached or not.
func TestDetachAndColourFromNode(t *testing.T) {
	plain := newRuntime(t, graylib.Identity{Service: "a", Tag: "gray"})
	colouring := newRuntime(t, graylib.Identity{Service: "a", Tag: "gray"}, testRules{
		lanes: []graylib.Lane{{Tag: "gray", State: graylib.LaneActive, Propagate: true, ColourFromNode: true}},
	}.option())
	ctx, cancel := arrived(t, plain, graylib.Untagged)
	defer cancel(nil)
	tests := []struct {
		name string
		ctx  context.Context
		want graylib.Tag
	}{
		{"of an arrival", graylib.Detach(ctx), graylib.Untagged},
		{"of an arrival, twice", graylib.Detach(graylib.Detach(ctx)), graylib.Untagged},
		{"of an arrival, with an id", graylib.WithRequestID(graylib.Detach(ctx), "r2"), graylib.Untagged},
		{"of an own job", graylib.Detach(t.Context()), "gray"},
		{"an own job", t.Context(), "gray"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, call := colouring.Depart(tt.ctx, "b", nil); call.Tag() != tt.want {
				t.Errorf("a call goes to lane %q, want %q", call.Tag(), tt.want)
			}
			if got := colouring.MarkTag(tt.ctx, "T", noRequest{}, nil); got != tt.want {
				t.Errorf("a message is marked %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDetachKeepsPropagateFalse(t *testing.T) {
	rt := newRuntime(t, graylib.Identity{Service: "a", Tag: "gray"}, testRules{
		lanes: []graylib.Lane{{Tag: "gray", State: graylib.LaneActive, Propagate: false, ColourFromNode: true}},
	}.option())
	ctx, cancel := arrived(t, rt, graylib.Untagged)
	defer cancel(nil)
	out := graylib.MapCarrier{}
	_, call := rt.Depart(graylib.Detach(ctx), "b", nil)
	call.Inject(graylib.HTTPKeys, out)
	if call.Tag() != "gray" || out["x-gray-tag"] != "" {
		t.Errorf("goes to lane %q and carries %q on", call.Tag(), out["x-gray-tag"])
	}
}

func TestAfterFunc(t *testing.T) {
	ctx, cancel := arrived(t, newRuntime(t, graylib.Identity{Service: "a"}), "gray")
	got := make(chan context.Context, 1)
	graylib.AfterFunc(ctx, time.Millisecond, func(ctx context.Context) { got <- ctx })
	cancel(nil) // the request ends before the timer
	late := <-got
	if tag := graylib.TagFrom(late); tag != "gray" || late.Err() != nil {
		t.Errorf("the timer has tag %q, error %v", tag, late.Err())
	}
	stopped := graylib.AfterFunc(ctx, time.Hour, func(context.Context) { t.Error("a stopped timer ran") })
	if !stopped.Stop() {
		t.Error("a timer of an hour could not be stopped")
	}
}

// Whatever trees of goroutines, timers and detached work requests grow, each has the tag of its own request.
func TestGoroutinesKeepTheirTags(t *testing.T) {
	rt := newRuntime(t, graylib.Identity{Service: "a"})
	rapid.Check(t, func(t *rapid.T) {
		tags := rapid.SliceOfN(rapid.SampledFrom([]graylib.Tag{graylib.Untagged, "gray", "blue"}), 1, 20).Draw(t, "requests")
		ways := rapid.SliceOfN(rapid.IntRange(0, 2), 0, 4).Draw(t, "ways")
		var all sync.WaitGroup
		wrong := make(chan string, len(tags))
		for i, tag := range tags {
			id := fmt.Sprint("r", i)
			ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys,
				graylib.MapCarrier{"x-gray-tag": string(tag), "x-request-id": id})
			var descend func(ctx context.Context, ways []int)
			descend = func(ctx context.Context, ways []int) {
				if len(ways) == 0 {
					defer all.Done()
					if got := graylib.TagFrom(ctx); got != tag || graylib.RequestIDFrom(ctx) != id {
						wrong <- fmt.Sprintf("request %s of tag %q sees %q of %q", id, tag, graylib.RequestIDFrom(ctx), got)
					}
					return
				}
				next := func(ctx context.Context) { descend(ctx, ways[1:]) }
				switch ways[0] {
				case 0:
					graylib.Go(ctx, next)
				case 1:
					graylib.Go(graylib.Detach(ctx), next)
				case 2:
					graylib.AfterFunc(ctx, 0, next)
				}
			}
			all.Add(1)
			descend(ctx, ways)
		}
		all.Wait()
		close(wrong)
		for w := range wrong {
			t.Error(w)
		}
	})
}

// Work that a handler leaves behind keeps the tag of its request, and outlives it.
func ExampleDetach() {
	ctx, cancel := context.WithCancel(graylib.WithTag(context.Background(), "gray"))
	done := make(chan struct{})
	graylib.Go(graylib.Detach(ctx), func(ctx context.Context) {
		defer close(done)
		ctx, stop := context.WithTimeout(ctx, time.Minute) // a limit of its own
		defer stop()
		cancel() // meanwhile the request ends
		fmt.Println(graylib.TagFrom(ctx), ctx.Err())
	})
	<-done
	// Output: gray <nil>
}

func BenchmarkDetach(b *testing.B) {
	ctx := tagged()
	b.ReportAllocs()
	for b.Loop() {
		if graylib.Detach(ctx) == nil {
			b.Fatal("no context")
		}
	}
}

func BenchmarkGo(b *testing.B) {
	ctx := tagged()
	ran := make(chan struct{})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			go func() { graylib.TagFrom(ctx); ran <- struct{}{} }()
			<-ran
		}
	})
	b.Run("graylib", func(b *testing.B) {
		task := func(ctx context.Context) { graylib.TagFrom(ctx); ran <- struct{}{} }
		b.ReportAllocs()
		for b.Loop() {
			graylib.Go(ctx, task)
			<-ran
		}
	})
}
