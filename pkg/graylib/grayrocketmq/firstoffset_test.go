package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// fakeBroker keeps offsets and locks. Each call moves its clock by one, and its queues grow by one message each time.
type fakeBroker struct {
	mu     sync.Mutex
	min    int64
	max    map[remoting.Queue]int64
	stored map[string]map[remoting.Queue]int64
	locks  map[string]map[remoting.Queue]string
	byTime int64 // what a search by time answers
	grow   bool
	twice  []string // offsets that were set though they were stored
	bare   []string // offsets that were set without the lock
}

func newFakeBroker(queues []remoting.Queue, minimum, maximum int64) *fakeBroker {
	b := &fakeBroker{
		min: minimum, max: make(map[remoting.Queue]int64),
		stored: make(map[string]map[remoting.Queue]int64), locks: make(map[string]map[remoting.Queue]string),
	}
	for _, q := range queues {
		b.max[q] = maximum
	}
	return b
}

func (b *fakeBroker) of(group string) map[remoting.Queue]int64 {
	if b.stored[group] == nil {
		b.stored[group] = make(map[remoting.Queue]int64)
		b.locks[group] = make(map[remoting.Queue]string)
	}
	return b.stored[group]
}

func (b *fakeBroker) step() func() {
	b.mu.Lock()
	if b.grow {
		for q := range b.max {
			b.max[q]++
		}
	}
	return b.mu.Unlock
}

func (b *fakeBroker) ConsumerOffset(_ context.Context, _, group string, q remoting.Queue) (int64, bool, error) {
	defer b.step()()
	o, ok := b.of(group)[q]
	return o, ok, nil
}

func (b *fakeBroker) MaxOffset(_ context.Context, _ string, q remoting.Queue) (int64, error) {
	defer b.step()()
	return b.max[q], nil
}

func (b *fakeBroker) MinOffset(context.Context, string, remoting.Queue) (int64, error) {
	defer b.step()()
	return b.min, nil
}

func (b *fakeBroker) SearchOffset(context.Context, string, remoting.Queue, time.Time) (int64, error) {
	defer b.step()()
	return b.byTime, nil
}

// setter is one member's view of the broker: it has a client id, and dies after some calls.
type setter struct {
	*fakeBroker
	id    string
	calls int // left; negative = without end
}

var errDied = errors.New("died")

func (s *setter) SetConsumerOffset(_ context.Context, _, group string, q remoting.Queue, offset int64) error {
	if s.calls == 0 {
		return errDied
	}
	s.calls--
	defer s.step()()
	if s.locks[group][q] != s.id {
		s.bare = append(s.bare, fmt.Sprintf("%s %s", group, q))
	}
	if _, ok := s.of(group)[q]; ok {
		s.twice = append(s.twice, fmt.Sprintf("%s %s", group, q))
	}
	s.of(group)[q] = offset
	return nil
}

func (s *setter) Lock(_ context.Context, _, group, clientID string, queues []remoting.Queue) ([]remoting.Queue, error) {
	defer s.step()()
	s.of(group)
	var got []remoting.Queue
	for _, q := range queues {
		if holder := s.locks[group][q]; holder == "" || holder == clientID {
			s.locks[group][q] = clientID
			got = append(got, q)
		}
	}
	return got, nil
}

func (s *setter) Unlock(_ context.Context, _, group, clientID string, queues []remoting.Queue) error {
	defer s.step()()
	for _, q := range queues {
		if s.locks[group][q] == clientID {
			delete(s.locks[group], q)
		}
	}
	return nil
}

func routeOf(brokers, queues int) remoting.Route {
	r := remoting.Route{Brokers: make(map[string]string)}
	for b := range brokers {
		name := fmt.Sprintf("b%d", b)
		r.Brokers[name] = name + ":1"
		for q := range queues {
			r.Queues = append(r.Queues, remoting.Queue{Topic: "T", Broker: name, ID: q})
		}
	}
	return r
}

var (
	grayPlace   = place{group: "g_gray", kind: kindLane, lane: graylib.Lane{Tag: "gray", Listed: time.Now()}}
	taggedPlace = place{group: "g__tagged", kind: kindTagged}
	basePlace   = place{group: "g", kind: kindBase}
)

func setAll(t interface{ Fatal(...any) }, b *fakeBroker, from consumer.ConsumeFromWhere, id string, route remoting.Route, places ...place) {
	f := &firstOffsets{api: &setter{fakeBroker: b, id: id, calls: -1}, id: id, base: "g", from: from}
	for _, p := range places {
		if err := f.set(context.Background(), p, route); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFirst goes through the sentence "First offsets" of design/messages.md.
func TestFirst(t *testing.T) {
	route := routeOf(1, 2)
	q0, q1 := route.Queues[0], route.Queues[1]
	same := func(o int64) map[remoting.Queue]int64 { return map[remoting.Queue]int64{q0: o, q1: o} }
	for _, tc := range []struct {
		name   string
		from   consumer.ConsumeFromWhere
		base   map[remoting.Queue]int64 // stored of <group>
		byTime int64
		places []place
		want   map[string]map[remoting.Queue]int64
	}{
		{"all fresh, last", consumer.ConsumeFromLastOffset, nil, 40, []place{grayPlace, taggedPlace, basePlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(100), "g__tagged": same(100), "g": same(100)}},
		{"all fresh, first", consumer.ConsumeFromFirstOffset, nil, 40, []place{grayPlace, taggedPlace, basePlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(40), "g__tagged": same(10), "g": same(10)}},
		{"all fresh, by time", consumer.ConsumeFromTimestamp, nil, 40, []place{grayPlace, taggedPlace, basePlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(40), "g__tagged": same(40), "g": same(40)}},
		{"group lags: the others as far back as it", consumer.ConsumeFromLastOffset, same(60), 40, []place{grayPlace, taggedPlace, basePlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(40), "g__tagged": same(60), "g": same(60)}},
		{"a queue newer than the group", consumer.ConsumeFromLastOffset, map[remoting.Queue]int64{q0: 60}, 40, []place{grayPlace, taggedPlace, basePlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(40), "g__tagged": {q0: 60, q1: 10}, "g": {q0: 60, q1: 10}}},
		{"a lane alone", consumer.ConsumeFromLastOffset, nil, 40, []place{grayPlace},
			map[string]map[remoting.Queue]int64{"g_gray": same(100)}},
		{"a setter died before the first queue", consumer.ConsumeFromLastOffset, map[remoting.Queue]int64{q1: 99}, 40, []place{basePlace},
			map[string]map[remoting.Queue]int64{"g": {q0: 100, q1: 99}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newFakeBroker(route.Queues, 10, 100)
			b.byTime = tc.byTime
			for q, o := range tc.base {
				b.of("g")[q] = o
			}
			setAll(t, b, tc.from, "x", route, tc.places...)
			for group, want := range tc.want {
				if diff := cmp.Diff(want, b.stored[group]); diff != "" {
					t.Errorf("offsets of %s (-want +got):\n%s", group, diff)
				}
			}
			if len(b.bare)+len(b.twice) != 0 {
				t.Errorf("set without the lock: %v; set twice: %v", b.bare, b.twice)
			}
		})
	}
}

// TestFirstOffsetsTogether has members of both kinds set first offsets at once while messages arrive; some die on the
// way. In the end every queue has an offset, none was ever set twice or without its lock, no old message is consumed, and no
// group begins after the ones that must not miss what it leaves to them.
func TestFirstOffsetsTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := routeOf(rapid.IntRange(1, 2).Draw(t, "brokers"), rapid.IntRange(1, 4).Draw(t, "queues"))
		b := newFakeBroker(route.Queues, 0, 100)
		b.grow = true
		var wg sync.WaitGroup
		for i := range rapid.IntRange(1, 4).Draw(t, "members") {
			s := &setter{fakeBroker: b, id: fmt.Sprint(i), calls: rapid.IntRange(-1, 2*len(route.Queues)).Draw(t, "calls")}
			places := []place{grayPlace, taggedPlace, basePlace}
			if rapid.Bool().Draw(t, "lane") {
				places = places[:1]
			}
			wg.Go(func() {
				f := &firstOffsets{api: s, id: s.id, base: "g", from: consumer.ConsumeFromLastOffset}
				for _, p := range places {
					if err := f.set(context.Background(), p, route); err != nil && !errors.Is(err, errDied) {
						t.Error(err)
					} else if err != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		setAll(t, b, consumer.ConsumeFromLastOffset, "last", route, grayPlace, taggedPlace, basePlace)
		if len(b.bare)+len(b.twice) != 0 {
			t.Fatalf("set without the lock: %v; set twice: %v", b.bare, b.twice)
		}
		oneBroker := len(route.Brokers) == 1 // with more, a death between two brokers' first queues may leave one at its beginning
		for _, q := range route.Queues {
			lane, tagged, base := b.stored["g_gray"][q], b.stored["g__tagged"][q], b.stored["g"][q]
			if oneBroker && min(lane, tagged, base) < 100 {
				t.Fatalf("%s begins at old messages: lane %d, tagged %d, base %d", q, lane, tagged, base)
			}
			if oneBroker && (lane > base || tagged > base) {
				t.Fatalf("%s: lane %d and tagged %d begin after base %d", q, lane, tagged, base)
			}
		}
		for group, locks := range b.locks {
			if len(locks) > 0 {
				t.Fatalf("locks of %s are still held: %v", group, locks)
			}
		}
	})
}

func TestFirstOffsetsGiveUp(t *testing.T) {
	route := routeOf(1, 1)
	b := newFakeBroker(route.Queues, 0, 1)
	b.of("g")
	b.locks["g"][route.Queues[0]] = "somebody"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	f := &firstOffsets{api: &setter{fakeBroker: b, id: "x", calls: -1}, id: "x", base: "g"}
	err := f.set(ctx, basePlace, route)
	if !errors.Is(err, ErrFirstOffsets) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrFirstOffsets and DeadlineExceeded", err)
	}
	route.Brokers = nil
	if err := f.set(t.Context(), basePlace, route); !errors.Is(err, errNoMaster) {
		t.Errorf("without a master: %v", err)
	}
	if slices.Contains(b.bare, "g") {
		t.Error("set without the lock")
	}
}
