package handoffbench

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// The goals of the issue; missing one fails nothing, it is said.
const (
	GoalMedian = 50 * time.Millisecond
	GoalP99    = 200 * time.Millisecond
)

// Result is what a run has shown.
type Result struct {
	Config   Config
	Took     time.Duration
	Messages int     // acknowledged by the broker
	Reached  float64 // of them a second
	Handoffs []Handoff

	Lost            int // messages that nobody handled to the end
	RepeatedPlanned int // deliveries beyond the first that no crash explains
	RepeatedCrash   int // those of what a killed process had begun
	BeyondSpan      int // of them, those beyond the span of one queue in one crash (64; G6)
	StoredTwice     int // ids that the broker has under two offsets: the client sent them again (G6); not repeated
}

// OK tells whether nothing was lost, no planned handoff repeated anything, and crashes repeated spans at most.
func (r Result) OK() bool { return r.Lost == 0 && r.RepeatedPlanned == 0 && r.BeyondSpan == 0 }

// judge fills in what was lost and repeated.
func (r *run) judge(list []sent) {
	type place struct{ who, queue string }
	spans := make(map[place]int)
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	for _, s := range list {
		if !r.record.done[s.id] {
			r.result.Lost++
		}
		seen := make(map[string]delivery) // queue and offset -> who had it last
		deliveries := slices.Clone(r.record.by[s.id])
		slices.SortStableFunc(deliveries, func(a, b delivery) int { return a.at.Compare(b.at) })
		for i, d := range deliveries {
			key := fmt.Sprintf("%s@%d", d.queue, d.offset)
			before, again := seen[key]
			if d.retry && i > 0 { // a message that was sent back though its handler succeeded
				before, again = deliveries[i-1], true
			}
			seen[key] = d
			switch {
			case !again && i > 0:
				r.result.StoredTwice++
			case again && r.killed[before.who]:
				r.result.RepeatedCrash++
				spans[place{before.who, before.queue}]++
			case again:
				r.result.RepeatedPlanned++
			}
		}
	}
	for _, n := range spans {
		r.result.BeyondSpan += max(0, n-ownership.DefaultSpan)
	}
}

// Times are the times of one kind of handoff.
type Times struct {
	Handoffs         int
	Median, P99, Max time.Duration
}

// Met tells whether they meet the goals.
func (t Times) Met() bool { return t.Median <= GoalMedian && t.P99 <= GoalP99 }

// Times returns the times of a kind: to the first message, and to when each queue had one.
func (r Result) Times(k Kind) (first, all Times) {
	var f, a []time.Duration
	for _, h := range r.Handoffs {
		if h.Kind == k {
			f, a = append(f, h.First), append(a, h.All)
		}
	}
	return timesOf(f), timesOf(a)
}

// timesOf takes percentiles by the nearest rank: of 50 times p99 is the greatest.
func timesOf(x []time.Duration) Times {
	n := len(x)
	if n == 0 {
		return Times{}
	}
	slices.Sort(x)
	rank := func(percent int) time.Duration { return x[(n*percent+99)/100-1] }
	return Times{Handoffs: n, Median: rank(50), P99: rank(99), Max: x[n-1]}
}

// names of the kinds, for people.
var kindTexts = map[Kind]string{Stop: "clean stop", Crash: "kill -9", Return: "lane's return"}

// Text returns the kind's name for people.
func (k Kind) Text() string { return kindTexts[k] }

// Write writes the result for people.
func (r Result) Write(w io.Writer) error {
	c := r.Config
	lines := fmt.Sprintf("%d rounds at %.0f messages a second (of %d wanted), handlers of %v, %d queues, %d stand-ins, seed %d: %d messages in %v\n\n",
		c.Rounds, r.Reached, c.Rate, c.Handler, c.Queues, c.StandIns, c.Seed, r.Messages, r.Took.Round(time.Second))
	lines += fmt.Sprintf("%-14s %8s  %-36s %s\n", "", "handoffs", "to the first message by the other", "to each queue's first")
	lines += fmt.Sprintf("%-14s %8s  %9s %9s %9s %6s %9s %9s\n", "ms", "", "median", "p99", "max", "", "median", "p99")
	for _, k := range Kinds() {
		first, all := r.Times(k)
		word := "met"
		if !first.Met() {
			word = "MISSED"
		}
		lines += fmt.Sprintf("%-14s %8d  %9.1f %9.1f %9.1f %6s %9.1f %9.1f\n", k.Text(), first.Handoffs, ms(first.Median), ms(first.P99), ms(first.Max), word, ms(all.Median), ms(all.P99))
	}
	lines += fmt.Sprintf("\nlost %d; repeated by planned handoffs %d; repeated by %d crashes %d (%.1f each, %d beyond the span of %d)",
		r.Lost, r.RepeatedPlanned, c.Rounds, r.RepeatedCrash, float64(r.RepeatedCrash)/float64(c.Rounds), r.BeyondSpan, ownership.DefaultSpan)
	if r.StoredTwice > 0 {
		lines += fmt.Sprintf("; stored twice by the client's own retry %d", r.StoredTwice)
	}
	lines += fmt.Sprintf("\ngoal: median %d ms, p99 %d ms\n", GoalMedian.Milliseconds(), GoalP99.Milliseconds())
	_, err := io.WriteString(w, lines)
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
