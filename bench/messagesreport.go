package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/pkg/graylib"
)

// goalPulled is the goal for what a lane pulls with the broker's filter, in proportion to its own messages.
const goalPulled = 1.0

// goals are those about messages.
func (f messageFigures) goals() []goal {
	var goals []goal
	for _, part := range []struct {
		what string
		list []sized
	}{{"sending", f.sending}, {"consuming", f.taking}} {
		for _, s := range part.list {
			for _, c := range s.by[1:] {
				if !c.goal {
					continue
				}
				ratio := estimated(c.times(s.by[0], perSecond))
				goals = append(goals, goal{fmt.Sprintf("%s %s, %s, in proportion to %s", part.what, s.text(), c.name, s.by[0].name),
					fmt.Sprint(goalThroughput), ratio.format("%.3f"), ratio.mid >= goalThroughput})
			}
		}
	}
	for _, s := range f.pulled {
		if s.filter == graylib.FilterServer {
			goals = append(goals, goal{"bytes that a lane's consumer pulls, in proportion to its own messages', with the broker's filter",
				fmt.Sprintf("%.1f", goalPulled), fmt.Sprintf("%.3f", s.ratio()), s.ratio() <= goalPulled+0.0005})
		}
	}
	for _, k := range handoffbench.Kinds() {
		first, _ := f.handoffs.Times(k)
		goals = append(goals, goal{"to the first message by the other side, " + k.Text(), "median 50 ms, p99 200 ms",
			fmt.Sprintf("median %s, p99 %s", inMs(first.Median), inMs(first.P99)), first.Met()})
	}
	r := f.handoffs
	return append(goals, goal{"handoffs: lost, repeated by planned ones, beyond the spans of crashes", "0, 0, 0",
		fmt.Sprintf("%d, %d, %d", r.Lost, r.RepeatedPlanned, r.BeyondSpan), r.OK()})
}

// text says what was sent or consumed.
func (s sized) text() string {
	if s.work > 0 {
		return fmt.Sprintf("%d bytes, handlers of %v", s.size, s.work)
	}
	return fmt.Sprintf("%d bytes", s.size)
}

func inMs(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// messagesHeading begins the page's part about messages, which reaches to its end.
const messagesHeading = "## Messages"

// write writes the page's part about messages.
func (f messageFigures) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	m, r := f.machine, f.handoffs
	p("%s", messagesHeading)
	p("")
	p("Measured on %s (`go run ./bench -messages` measures this part alone, on a RocketMQ that it starts), in %v, with %s and rocketmq-client-go %s;", m.when.Format("2006-01-02"),
		f.took.Round(time.Second), m.goVersion, m.modules["github.com/apache/rocketmq-client-go/v2"])
	p("%d processors, which the broker shares; load average at the end %s.", m.processors, m.load)
	p("")
	p("| what | goal | measured | |")
	p("|---|---|---|---|")
	for _, g := range f.goals() {
		p("| %s | %s | %s | %s |", g.what, g.want, g.got, g.word())
	}
	p("")
	p("### Sending")
	p("")
	p("%d goroutines send synchronously to a topic of %d queues for %v; the contestants take turns, %d times each. Processor time is this", messageSenders, messageQueues, f.effort.span, f.effort.rounds)
	p("process's, without the broker's.")
	p("")
	table(p, f.sending)
	p("")
	p("### Consuming")
	p("")
	p("A new group consumes a backlog of %d messages; the contestants take turns, %d times each. Handlers do nothing, so that nothing hides the", f.effort.backlog, f.effort.rounds)
	p("cost, or in the last lines wait for %v, as one that calls another service does; 20 run at once. They are woken by a clock of %v: Go's timers", handlerWork, clockStep)
	p("come late by up to a millisecond in a process that is idle, which would be measured instead (0.8 where the clock gives 1.05). Measured is")
	p("between a tenth and nine tenths of the backlog. A baseline instance is a member of the lane's group and of `<group>__tagged`")
	p("beside, for which the broker looks through the same messages and finds none. graylib's members commit as they go (a crash")
	p("repeats %s at most), where the client commits every 5 s. Processor time is this process's; what the", "64 messages a queue")
	p("broker takes for the filters shows in the messages a second alone, since it shares the processors here. The lines for comparison are")
	p("the client's own consumers with the same filters: more than they do, a wrapper around them can't.")
	p("")
	table(p, f.taking)
	p("")
	p("### Bytes")
	p("")
	p("Of a topic one message in %d is the lane's. What its consumer pulled, in proportion to its own messages' size in the broker:", 1+f.pulled[0].others)
	p("")
	p("| filter | pulled, bytes | its own, bytes | proportion |")
	p("|---|---|---|---|")
	for _, s := range f.pulled {
		p("| `%s` | %d | %d | %.3f |", s.filter, s.pulled, s.handled, s.ratio())
	}
	p("")
	p("### Handoffs")
	p("")
	p("`graychain bench handoff`, %d rounds at %.0f messages a second, handlers of %v, %d queues, a lane and %d stand-ins as processes (seed %d). From the", r.Config.Rounds,
		r.Reached, r.Config.Handler, r.Config.Queues, r.Config.StandIns, r.Config.Seed)
	p("kill, the order to stop, or the call of `Start`, to the begin of the other side's first message, and to when it has begun")
	p("one of each queue:")
	p("")
	p("| | handoffs | first: median | p99 | max | each queue: median | p99 |")
	p("|---|---|---|---|---|---|---|")
	for _, k := range handoffbench.Kinds() {
		first, all := r.Times(k)
		p("| %s | %d | %s | %s | %s | %s | %s |", k.Text(), first.Handoffs, inMs(first.Median), inMs(first.P99), inMs(first.Max), inMs(all.Median), inMs(all.P99))
	}
	p("")
	p("Of %d messages %d were lost and %d repeated by planned handoffs; the %d crashes repeated %d, %d of them beyond a queue's span.", r.Messages, r.Lost, r.RepeatedPlanned,
		r.Config.Rounds, r.RepeatedCrash, r.BeyondSpan)
}

// table writes what contestants came to, size by size.
func table(p func(string, ...any), list []sized) {
	p("| body | | messages a second | in proportion | processor time a message, µs | in proportion |")
	p("|---|---|---|---|---|---|")
	for _, s := range list {
		for _, c := range s.by {
			µs := func(t throughput) float64 { return t.cpu / 1000 }
			p("| %s | %s | %s | %s | %s | %s |", s.text(), c.name, estimated(c.of(perSecond)).format("%.0f"), estimated(c.times(s.by[0], perSecond)).format("%.3f"),
				estimated(c.of(µs)).format("%.1f"), estimated(c.times(s.by[0], cpu)).format("%.3f"))
		}
	}
}

// withMessages returns a page with another part about messages.
func withMessages(page []byte, f messageFigures) []byte {
	if i := bytes.Index(page, []byte("\n"+messagesHeading+"\n")); i >= 0 {
		page = page[:i]
	}
	var part bytes.Buffer
	f.write(&part)
	return []byte(strings.TrimRight(string(page), "\n") + "\n\n" + part.String())
}
