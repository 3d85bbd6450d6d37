package grayrocketmq

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// rounds is the number of handoffs of each sort: few, or with GRAYCHAIN_E2E_FULL=1 what the figures are made of.
func rounds() int {
	if os.Getenv("GRAYCHAIN_E2E_FULL") == "1" {
		return 20
	}
	return 3
}

// tally is what all instances together handled, by message id.
type tally struct {
	mu     sync.Mutex
	times  map[string]int
	places map[string][]string  // id -> where it stands, queue and offset: a client that sends again may have it stored twice
	by     map[string]string    // id -> who handled it last
	first  map[string]time.Time // who -> its first message since arm
	who    map[string][]string  // id -> all who handled it
	marks  map[string]string    // id -> who marked it as handled, with the idempotency hook
	at     []time.Time          // of each, in order
}

func newTally() *tally {
	return &tally{times: make(map[string]int), places: make(map[string][]string), by: make(map[string]string), first: make(map[string]time.Time), who: make(map[string][]string), marks: make(map[string]string)}
}

func (y *tally) note(who, id, where string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := time.Now()
	y.times[id]++
	if !slices.Contains(y.places[id], where) {
		y.places[id] = append(y.places[id], where)
	}
	y.at = append(y.at, now)
	y.by[id] = who
	y.who[id] = append(y.who[id], who)
	if _, ok := y.first[who]; !ok {
		y.first[who] = now
	}
}

// standsAt is where a message stands.
func standsAt(m *primitive.MessageExt) string {
	return fmt.Sprintf("%s@%d", queueName(m.Queue), m.QueueOffset)
}

// mark notes that a message was marked as handled.
func (y *tally) mark(who, id string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.marks[id] = who
}

// afterMark returns how often a message was handled by somebody after somebody else had marked it, and how many were marked.
// Names tell who came after whom: the lines of two processes don't.
func (y *tally) afterMark() (again, marked int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for id, marker := range y.marks {
		for _, who := range y.who[id] {
			if who >= marker {
				again++
			}
		}
		again-- // its own
	}
	return again, len(y.marks)
}

// since is how often messages were handled from then on.
func (y *tally) since(then time.Time) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := len(y.at)
	for n > 0 && !y.at[n-1].Before(then) {
		n--
	}
	return len(y.at) - n
}

// arm forgets who handled something.
func (y *tally) arm() {
	y.mu.Lock()
	defer y.mu.Unlock()
	clear(y.first)
}

// took returns when somebody whose name begins so handled its first message since arm.
func (y *tally) took(prefix string) (time.Time, bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	var first time.Time
	for who, at := range y.first {
		if strings.HasPrefix(who, prefix) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first, !first.IsZero()
}

func (y *tally) has(ids []string) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id string) bool { return y.times[id] == 0 })
}

// judge counts the messages lost, and the deliveries beyond the first of each place where a message stands.
func (y *tally) judge(ids []string) (lost, repeated int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, id := range ids {
		switch n := y.times[id]; {
		case n == 0:
			lost++
		case n > 1:
			repeated += n - len(y.places[id])
		}
	}
	return lost, repeated
}

// handoffHandler is the application's work: 3 ms.
func (y *tally) handler(who string) *sink {
	s := newSink()
	s.act = func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		y.note(who, m.MsgId, standsAt(m))
		time.Sleep(3 * time.Millisecond) // the work
		return consumer.ConsumeSuccess
	}
	return s
}

// load sends tagged messages until it is stopped.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	ids    []string
	began  time.Time
}

// load starts sending perSecond messages of a tag.
func (w *world) load(p rocketmq.Producer, tag graylib.Tag, perSecond int) *load {
	return w.loadTo(w.topic, p, tag, perSecond)
}

// loadTo is load to a topic.
func (w *world) loadTo(topic string, p rocketmq.Producer, tag graylib.Tag, perSecond int) *load {
	ctx, cancel := context.WithCancel(graylib.WithTag(context.Background(), tag))
	l := &load{cancel: cancel, began: time.Now()}
	w.t.Cleanup(func() { l.cancel(); l.wg.Wait() }) // where the test fails before it stops it: a report after its end ends all tests
	senders := full(4, 16)                          // so many that slow sends don't lower the load
	for range senders {
		l.wg.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(senders) / time.Duration(perSecond))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				r, err := p.SendSync(context.WithoutCancel(ctx), primitive.NewMessage(topic, []byte("x")))
				if err != nil && w.mayFail.Load() {
					continue // not acknowledged: nobody promised anything
				}
				if err != nil {
					w.t.Error(err)
					return
				}
				l.mu.Lock()
				l.ids = append(l.ids, r.MsgID)
				l.mu.Unlock()
			}
		})
	}
	return l
}

// sent is how many were acknowledged.
func (l *load) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// more waits until n more were sent.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	n += l.sent()
	eventually(t, "more is sent", func() bool { return l.sent() >= n })
}

// stop ends the sending and returns all ids.
func (l *load) stop(t *testing.T) []string {
	l.cancel()
	l.wg.Wait()
	t.Logf("%d messages at %.0f/s", len(l.ids), float64(len(l.ids))/time.Since(l.began).Seconds())
	return l.ids
}

// figures prints times in the form that docs/performance.md has.
func figures(t *testing.T, what string, times []time.Duration) {
	slices.Sort(times)
	if len(times) == 0 {
		return
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	t.Logf("%s, to the first message by the other side, %d rounds: min %.1f ms, median %.1f ms, p99 %.1f ms, max %.1f ms", what, len(times),
		ms(times[0]), ms(times[len(times)/2]), ms(times[(len(times)*99-1)/100]), ms(times[len(times)-1]))
}

// TestHandoffPlanned: a lane comes and goes, and grows and shrinks, under load: nothing is lost, nothing is repeated.
func TestHandoffPlanned(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	y := newTally()
	w.consumer("", y.handler("standin-1"))
	w.consumer("", y.handler("standin-2"))
	p := w.producer("")
	w.send(p, "gray", 1) // the route is known
	l := w.load(p, "gray", 1000)
	await := func(prefix string, since time.Time) time.Duration {
		t.Helper()
		var at time.Time
		eventually(t, "the first message by "+prefix, func() bool {
			var ok bool
			at, ok = y.took(prefix)
			return ok
		})
		return at.Sub(since)
	}
	await("standin", time.Now())
	var starts, stops, grows []time.Duration
	for i := range rounds() {
		y.arm()
		began := time.Now()
		one := w.consumer("gray", y.handler(fmt.Sprintf("lane-%d", i)))
		starts = append(starts, await("lane", began))
		y.arm()
		began = time.Now()
		two := w.consumer("gray", y.handler(fmt.Sprintf("more-%d", i)))
		grows = append(grows, await("more", began))
		stop(t, one)
		y.arm()
		began = time.Now()
		stop(t, two)
		stops = append(stops, await("standin", began))
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	if lost, repeated := y.judge(ids); lost != 0 || repeated != 0 {
		t.Errorf("lost %d, repeated %d of %d; want 0 and 0", lost, repeated, len(ids))
	}
	figures(t, "lane's start (Start included)", starts)
	figures(t, "lane's second instance (Start included)", grows)
	figures(t, "lane's clean stop", stops)
}

// TestStandInsComeAndGo: baseline instances come and go while they consume a lane's messages, or their own.
func TestStandInsComeAndGo(t *testing.T) {
	for _, tag := range []graylib.Tag{"gray", graylib.Untagged} {
		t.Run("load "+tag.String(), func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(4)
			y := newTally()
			w.consumer("", y.handler("first"))
			l := w.load(w.producer(""), tag, 300)
			for i := range rounds() {
				who := fmt.Sprintf("other-%d", i)
				c := w.consumer("", y.handler(who))
				eventually(t, "it takes part", func() bool { _, ok := y.took(who); return ok })
				w.shutdown(c)
			}
			ids := l.stop(t)
			eventually(t, "all are handled", func() bool { return y.has(ids) })
			if lost, repeated := y.judge(ids); lost != 0 || repeated != 0 {
				t.Errorf("lost %d, repeated %d of %d; want 0 and 0", lost, repeated, len(ids))
			}
		})
	}
}

// Environment of the process that is killed.
const (
	killedNamesrv = "GRAYCHAIN_TEST_KILLED_NAMESRV"
	killedTopic   = "GRAYCHAIN_TEST_KILLED_TOPIC"
	killedGroup   = "GRAYCHAIN_TEST_KILLED_GROUP"
	killedTag     = "GRAYCHAIN_TEST_KILLED_TAG"
)

// TestKilledProcess is the process that TestCrash kills; it prints the ids of what it handles, and of what it marks as handled.
func TestKilledProcess(t *testing.T) {
	addr := os.Getenv(killedNamesrv)
	if addr == "" {
		t.Skip("started by TestCrash alone")
	}
	w := &world{t: t, namesrv: addr, topic: os.Getenv(killedTopic), group: os.Getenv(killedGroup), source: newRuleSource(listed(graylib.ModeAuto, "gray"))}
	s := newSink()
	var out sync.Mutex
	s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		out.Lock()
		fmt.Println("handled", m.MsgId, standsAt(m))
		out.Unlock()
		time.Sleep(3 * time.Millisecond) // the work
		return consumer.ConsumeSuccess
	}
	var opts []ConsumerOption
	if addr := os.Getenv(killedRedis); addr != "" {
		opts = append(opts, WithIdempotency(telling{openRedis(t, addr), func(id string) {
			out.Lock()
			defer out.Unlock()
			fmt.Println("marked", id)
		}}))
	}
	w.consumer(graylib.Tag(os.Getenv(killedTag)), s, opts...)
	fmt.Println("started")
	<-t.Context().Done() // it is killed
}

// child starts a process with one instance; what it handles is noted under who.
func (w *world) child(tag graylib.Tag, y *tally, who string) (kill func()) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), killedNamesrv+"="+w.namesrv, killedTopic+"="+w.topic, killedGroup+"="+w.group, killedTag+"="+string(tag))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if handled, ok := strings.CutPrefix(lines.Text(), "handled "); ok {
				if id, where, whole := strings.Cut(handled, " "); whole { // the kill may cut a line off
					y.note(who, id, where)
				}
			} else if id, ok := strings.CutPrefix(lines.Text(), "marked "); ok {
				y.mark(who, id)
			} else {
				w.t.Logf("%s: %s", who, lines.Text()) // why it failed, if it did
			}
		}
	}()
	var once sync.Once
	kill = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			<-read // what it had printed counts
			_ = cmd.Wait()
		})
	}
	w.t.Cleanup(kill)
	return kill
}

// TestCrash kills a lane's process, a stand-in's, and one that consumes the baseline's own messages, under load: nothing is lost, and
// at most what was in the spans of its queues is repeated.
func TestCrash(t *testing.T) {
	const queues = 4
	for _, tc := range []struct {
		name      string
		tag, load graylib.Tag
	}{{"lane", "gray", "gray"}, {"stand-in", "", "gray"}, {"baseline", "", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(queues)
			y := newTally()
			left, group := w.consumer("", y.handler("left")), w.group
			if tc.load != graylib.Untagged {
				group = graylib.LaneGroup(group, tc.load)
			}
			l := w.load(w.producer(""), tc.load, 1000)
			var times []time.Duration
			for i := range rounds() {
				who := fmt.Sprintf("killed-%d", i)
				kill := w.child(tc.tag, y, who)
				eventually(t, "the process handles messages", func() bool { _, ok := y.took(who); return ok })
				eventually(t, "some more are handled", func() bool { return y.count(who) > 100 })
				y.arm()
				began := time.Now()
				kill()
				y.arm()
				eventually(t, "the other baseline instance handles messages", func() bool { _, ok := y.took("left"); return ok })
				at, _ := y.took("left")
				times = append(times, at.Sub(began))
				w.owns(left, group)
			}
			ids := l.stop(t)
			eventually(t, "all are handled", func() bool { return y.has(ids) })
			lost, repeated := y.judge(ids)
			most := rounds() * queues * ownership.DefaultSpan
			if lost != 0 || repeated > most {
				t.Errorf("lost %d, repeated %d of %d; want 0 and at most %d", lost, repeated, len(ids), most)
			}
			t.Logf("lost %d, repeated %d in %d crashes", lost, repeated, rounds())
			figures(t, "kill -9 of the "+tc.name, times)
		})
	}
}

func (y *tally) count(who string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	n := 0
	for _, by := range y.by {
		if by == who {
			n++
		}
	}
	return n
}

// TestModesMoveOwnership changes the mode under load, the lane being gone: in ignore its messages wait, in auto stand-ins
// have them, and no message is handled twice.
func TestModesMoveOwnership(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	y := newTally()
	w.consumer("", y.handler("standin"))
	p := w.producer("")
	var all []string
	for range rounds() {
		waiting := w.send(p, "gray", 8)
		all = append(all, waiting...)
		plain := w.send(p, "", 8)
		eventually(t, "untagged ones are handled", func() bool { return y.has(plain) })
		if lost, _ := y.judge(waiting); lost != len(waiting) {
			t.Fatalf("%d of %d messages were handled in mode ignore, the lane being gone", len(waiting)-lost, len(waiting))
		}
		began := time.Now()
		w.source.put(listed(graylib.ModeAuto, "gray"))
		eventually(t, "stand-ins handle them in mode auto", func() bool { return y.has(waiting) })
		t.Logf("auto: all handled after %v", time.Since(began))
		w.source.put(listed(graylib.ModeIgnore, "gray"))
		eventually(t, "the stand-in has given its queues up", func() bool { return w.idle() })
	}
	if _, repeated := y.judge(all); repeated != 0 {
		t.Errorf("%d repeated", repeated)
	}
}

// idle tells whether nobody holds a lock of the lane's group.
func (w *world) idle() bool {
	w.t.Helper()
	route, err := w.api.Route(w.t.Context(), w.topic)
	if err != nil {
		w.t.Fatal(err)
	}
	const probe = "127.0.0.1@probe"
	group := graylib.LaneGroup(w.group, "gray")
	for _, addr := range route.Brokers {
		locked, err := w.api.Lock(w.t.Context(), addr, group, probe, route.Queues)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.api.Unlock(w.t.Context(), addr, group, probe, locked); err != nil {
			w.t.Fatal(err)
		}
		if len(locked) != len(route.Queues) {
			return false
		}
	}
	return true
}

// TestRetriesAreTakenOver: what failed in the lane is retried by a stand-in when the lane is gone, in the lane's group.
func TestRetriesAreTakenOver(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	base, gray := newSink(), newSink()
	gray.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult { return consumer.ConsumeRetryLater }
	w.consumer("", base)
	lane := w.consumer("gray", gray)
	w.laneOwns(lane)
	ids := w.send(w.producer(""), "gray", 4)
	eventually(t, "the lane fails", func() bool { return gray.all(ids) })
	w.shutdown(lane)
	eventually(t, "the stand-in retries", func() bool { return base.all(ids) })
	base.exactly(t, "stand-in", ids, 1)
	if got := base.tag(ids[0]); got != "gray" {
		t.Errorf("the stand-in's context has tag %q, want gray", got)
	}
}

// stop stops a lane's consumer at once: unlike a baseline's it has no client inside that races with itself (see shutdown).
func stop(t *testing.T, c *Consumer) {
	t.Helper()
	if err := c.Shutdown(); err != nil {
		t.Error(err)
	}
}

// TestStraysWait: a message whose tag isn't listed waits until the rules were read late enough; its tag being listed
// meanwhile, it is the baseline's at once where it lies before the lane's boundary.
func TestStraysWait(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(1)
	w.source.readAt(time.Now())
	base := newSink()
	w.consumer("", base)
	p := w.producer("")
	stray := w.send(p, "blue", 3)
	plain := w.send(p, "", 3)
	gray := w.send(p, "gray", 3)
	eventually(t, "others are handled", func() bool { return base.all(plain) && base.all(gray) })
	w.source.readAt(time.Now().Add(strayWait / 2))
	base.exactly(t, "strays", stray, 0)
	w.source.readAt(time.Now().Add(2 * strayWait))
	eventually(t, "the strays are the baseline's", func() bool { return base.all(stray) })
	base.exactly(t, "strays", stray, 1)
}

// TestRollback: a lane goes for good and leaves messages behind, some in retry; the baseline, started later, handles each once.
func TestRollback(t *testing.T) {
	n := 500
	if rounds() > 3 {
		n = 5000
	}
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	gray, base := newSink(), newSink()
	gray.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult { return consumer.ConsumeRetryLater }
	lane := w.consumer("gray", gray)
	p := w.producer("")
	failed := w.send(p, "gray", 50)
	eventually(t, "the lane fails", func() bool { return gray.all(failed) })
	stop(t, lane)
	ids := append(w.send(p, "gray", n), failed...)
	w.consumer("", base)
	eventually(t, "the baseline handles what was left", func() bool { return base.all(ids) })
	base.exactly(t, "baseline", ids, 1)
}

// TestConnectionLost breaks the connections of the lane's and the stand-in's members under load: they come back, nothing is
// lost, and at most the spans are repeated.
func TestConnectionLost(t *testing.T) {
	const queues = 4
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(queues)
	y := newTally()
	members := []*Consumer{w.consumer("", y.handler("standin")), w.consumer("gray", y.handler("lane"))}
	l := w.load(w.producer(""), "gray", 200)
	for i := range rounds() {
		c := members[i%len(members)]
		eventually(t, "the lane handles messages", func() bool { _, ok := y.took("lane"); return ok })
		c.mu.Lock()
		list := c.joined
		c.mu.Unlock()
		for _, j := range list {
			if m, ok := j.(*laneMember); ok {
				m.closeSessions()
			}
		}
		y.arm()
	}
	eventually(t, "the lane handles messages again", func() bool { _, ok := y.took("lane"); return ok })
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if most := rounds() * queues * ownership.DefaultSpan; lost != 0 || repeated > most {
		t.Errorf("lost %d, repeated %d of %d; want 0 and at most %d", lost, repeated, len(ids), most)
	}
	t.Logf("lost %d, repeated %d, over %d lost connections", lost, repeated, rounds())
}
