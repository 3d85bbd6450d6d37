// Bench measures what graylib costs, against what Kitex does without it, and writes docs/performance.md:
//
//	go run ./bench            # make bench
//	go run ./bench -quick -out -
//	go run ./bench -messages   # that part of the page alone
//	go run ./bench -message-rounds 6 -handoffs 20
//
// All that is compared is measured in turn in one run, slice by slice; medians are given with bounds of 95 % confidence. It
// reports, and fails only where something doesn't work.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/kitex/pkg/klog"

	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/internal/proc"
)

// effort is how much is measured.
type effort struct {
	rounds      int // of slices on the processor alone
	chainRounds int
	chainSpan   time.Duration
}

var (
	thorough = effort{rounds: 200, chainRounds: 40, chainSpan: 500 * time.Millisecond}
	quick    = effort{rounds: 20, chainRounds: 5, chainSpan: 200 * time.Millisecond}
)

func main() {
	proc.GuardMain()          // takes over where this process is the guard of servers that it has started
	handoffbench.MemberMain() // takes over where it is a lane or a stand-in
	out := flag.String("out", "docs/performance.md", "the file to write; - is the standard output")
	isQuick := flag.Bool("quick", false, "measure little: to see that it works")
	rounds := flag.Int("rounds", thorough.rounds, "how many rounds are measured on the processor alone")
	chainRounds := flag.Int("chain-rounds", thorough.chainRounds, "how many rounds of load the chains get")
	messages := flag.Bool("messages", false, "measure only messages, and replace that part of the page")
	messageRounds := flag.Int("message-rounds", thoroughMessages.rounds, "how many rounds sending and consuming get")
	handoffs := flag.Int("handoffs", thoroughMessages.handoffs, "how many rounds of handoffs are timed")
	flag.Parse()
	e := effort{rounds: max(1, *rounds), chainRounds: max(1, *chainRounds), chainSpan: thorough.chainSpan}
	m := thoroughMessages
	m.rounds, m.handoffs = max(1, *messageRounds), max(1, *handoffs)
	if *isQuick {
		e, m = quick, quickMessages
	}
	klog.SetOutput(io.Discard)
	hlog.SetOutput(io.Discard)
	if err := run(*out, e, m, *messages); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(out string, e effort, m messageEffort, messagesOnly bool) error {
	var page bytes.Buffer
	var goals []goal
	began := time.Now()
	if !messagesOnly {
		f, err := figuresOf(e)
		if err != nil {
			return err
		}
		f.machine, f.took = describe(), time.Since(began)
		f.write(&page)
		goals = f.goals()
	} else if out != "-" {
		old, err := os.ReadFile(out)
		if err != nil {
			return err
		}
		page.Write(old)
	}
	about, err := measureMessages(context.Background(), m, say)
	if err != nil {
		return err
	}
	text, goals := withMessages(page.Bytes(), about), append(goals, about.goals()...)
	if out == "-" {
		_, err = os.Stdout.Write(text)
		return err
	}
	if err := os.WriteFile(out, text, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: written after %v\n", out, time.Since(began).Round(time.Second))
	for _, g := range goals {
		fmt.Println(g)
	}
	return nil
}

// say tells who waits what is measured now.
func say(what string) { fmt.Fprintln(os.Stderr, "bench:", what) }

// figures is all that was measured.
type figures struct {
	effort  effort
	machine machine
	took    time.Duration

	hops     []measured
	choices  []choice
	rules    []measured
	swapping swapped
	chains   []chainResult
}

// measured is a contestant with its samples.
type measured struct {
	name string
	samples
}

// choice is what choosing costs in one shape.
type choice struct {
	instances, lanes int
	by               map[string]samples
}

func measureAll(rounds int, contestants []contestant) []measured {
	var out []measured
	for i, s := range measure(rounds, contestants...) {
		out = append(out, measured{contestants[i].name, s})
	}
	return out
}

func figuresOf(e effort) (figures, error) {
	f := figures{effort: e}

	say("a hop")
	hops, err := hopContestants()
	if err != nil {
		return f, err
	}
	f.hops = measureAll(e.rounds, hops)

	for _, shape := range chooseShapes {
		say(fmt.Sprintf("choosing among %d instances, %d lanes", shape.instances, shape.lanes))
		contestants, err := chooseContestants(shape.instances, shape.lanes)
		if err != nil {
			return f, err
		}
		c := choice{shape.instances, shape.lanes, map[string]samples{}}
		for _, m := range measureAll(e.rounds, contestants) {
			c.by[m.name] = m.samples
		}
		f.choices = append(f.choices, c)
	}

	say("rules")
	rules, err := rulesContestants()
	if err != nil {
		return f, err
	}
	f.rules = measureAll(e.rounds, rules)
	if f.swapping, err = measureSwapping(e.rounds); err != nil {
		return f, err
	}

	say("the chain")
	f.chains, err = measureChains(e.chainRounds, e.chainSpan)
	return f, err
}
