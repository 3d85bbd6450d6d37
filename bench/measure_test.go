package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		x    []float64
		want float64
	}{
		{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(tt.x); got != tt.want {
			t.Errorf("median %v of %v, want %v", got, tt.x, tt.want)
		}
	}
}

// The bounds hold the true median in about 95 of 100 samples of a known distribution.
func TestEstimatedCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const samples, size = 200, 60
	covered, width := 0, 0.0
	for range samples {
		x := make([]float64, size)
		for i := range x {
			x[i] = 100 + 10*r.NormFloat64()
		}
		e := estimated(x)
		if e.low > e.mid || e.mid > e.high {
			t.Fatalf("bounds %v to %v around %v", e.low, e.high, e.mid)
		}
		if e.low <= 100 && 100 <= e.high {
			covered++
		}
		width += e.high - e.low
	}
	if covered < samples*88/100 || covered == samples {
		t.Errorf("%d of %d intervals hold the median, want about 95 %%", covered, samples)
	}
	if width /= samples; width > 10 {
		t.Errorf("intervals are %.1f wide, the standard deviation is 10", width)
	}
}

// What is slow for both sides of a pair doesn't show in their difference or proportion.
func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	var base, more samples
	for range 100 {
		slow := 1 + 5*r.Float64()
		base = append(base, sample{ns: 100 * slow})
		more = append(more, sample{ns: 130 * slow})
	}
	e := ratioOfMedians(more.ns(), base.ns())
	if math.Abs(e.mid-1.3) > 1e-9 || math.Abs(e.low-1.3) > 1e-9 || math.Abs(e.high-1.3) > 1e-9 {
		t.Errorf("proportion %+v, want 1.3", e)
	}
	if d := estimated(more.beyond(base)); d.mid < 30 || d.low < 30 {
		t.Errorf("difference %+v, want 30 or more", d)
	}
}

func TestMeasureTellsTimeAndAllocations(t *testing.T) {
	var sink [][]byte
	spin := func(n int, d time.Duration) {
		for range n {
			for began := cpuTime(); cpuTime()-began < d; {
				continue
			}
		}
	}
	out := measure(5,
		contestant{"short", func(n int) { spin(n, 50*time.Microsecond) }},
		contestant{"long", func(n int) {
			spin(n, 150*time.Microsecond)
			for range n {
				sink = [][]byte{make([]byte, 10), make([]byte, 20)}
			}
		}},
	)
	if len(out) != 2 || len(out[0]) != 5 || len(out[1]) != 5 {
		t.Fatalf("samples %v", out)
	}
	if e := ratioOfMedians(out[1].ns(), out[0].ns()); e.mid < 2 || e.mid > 4 {
		t.Errorf("proportion %+v, want about 3", e)
	}
	if a, b := out[0].allocs(), out[1].allocs(); a > 0.5 || b < 2.5 || b > 3.5 {
		t.Errorf("%v and %v allocations, want 0 and 3 (%d)", a, b, len(sink))
	}
}

// Every contestant does what it says: each panics where its value doesn't arrive, or nothing is chosen.
func TestContestantsWork(t *testing.T) {
	hops, err := hopContestants()
	if err != nil {
		t.Fatal(err)
	}
	choices, err := chooseContestants(40, 3)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := rulesContestants()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]contestant{hops, choices, rules} {
		for _, c := range list {
			c.do(3)
		}
	}
}

func TestReport(t *testing.T) {
	flat := func(name string, ns, allocs float64) measured {
		m := measured{name: name}
		for range 5 {
			m.samples = append(m.samples, sample{ns: ns, allocs: allocs})
		}
		return m
	}
	load := func(name string, perSecond float64) chainResult {
		r := chainResult{name: name, goal: name != "everything"}
		for range 5 {
			r.slices = append(r.slices, throughput{perSecond, 1e9 / perSecond})
		}
		return r
	}
	f := figures{
		effort: quick,
		hops:   []measured{flat("bare", 1000, 10), flat("tag", 1400, 13), flat("metainfo", 3000, 20)},
		choices: []choice{{10, 1, map[string]samples{
			chooseNothing: flat("", 100, 1).samples, chooseKitex: flat("", 200, 1).samples,
			chooseGray: flat("", 215, 1).samples,
		}}},
		rules:    []measured{flat("one", 1500, 0), flat("mix", 1900, 0), flat("body", 4000, 9)},
		swapping: swapped{still: []float64{10, 11, 12}, swapping: []float64{10, 11, 12}, swaps: 5, evaluations: 9},
		chains:   []chainResult{load("plain", 1000), load("gray", 980), load("gray tagged", 900), load("everything", 10)},
	}
	var words []string
	for _, g := range f.goals() {
		words = append(words, g.word())
	}
	if got, want := strings.Join(words, " "), "met met met met met met MISSED"; got != want {
		t.Errorf("goals %q, want %q:\n%v", got, want, f.goals())
	}
	var page bytes.Buffer
	f.write(&page)
	for _, want := range []string{"400 (400 to 400) ns, 3 allocations", "| 10 | 1 | 100 (100 to 100) | 115 (115 to 115) | 1.15 (1.15 to 1.15) | 0 |", "0.900 (0.900 to 0.900)"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("%q is not in\n%s", want, &page)
		}
	}
}
