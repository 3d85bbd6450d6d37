package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

// contestant is one of several ways of doing something that are measured against each other.
type contestant struct {
	name string
	// do does it n times.
	do func(n int)
}

// cpuTime is the processor time that this process has used, in user and kernel mode and in all of its threads. Waiting for a processor that others use is not in it: a machine that does something else too
// disturbs it little.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it can't fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sample is one slice of one contestant.
type sample struct {
	ns     float64 // of processor time, for one time
	allocs float64
	bytes  float64
}

// samples holds a contestant's slices: the i-th of all contestants were measured next to each other.
type samples []sample

func (s samples) ns() []float64 {
	out := make([]float64, len(s))
	for i := range s {
		out[i] = s[i].ns
	}
	return out
}

// allocs returns the median number of allocations of one time.
func (s samples) allocs() float64 {
	out := make([]float64, len(s))
	for i := range s {
		out[i] = s[i].allocs
	}
	return median(out)
}

// How long one slice is, and how often each is done. A slice is long enough for the clock and short enough that what
// disturbs the machine disturbs few of them, and all contestants alike.
const sliceTime = 5 * time.Millisecond

// roundsPerCollection bounds what is allocated between two collections.
const roundsPerCollection = 4

// measure runs the contestants in turn, in an order drawn anew for each round, and returns their samples. Since they are
// interleaved, what is slow in one round (another process, a warm processor) is slow for all of them.
func measure(rounds int, contestants ...contestant) []samples {
	n := make([]int, len(contestants))
	for i, c := range contestants {
		n[i] = calibrate(c.do)
	}
	out := make([]samples, len(contestants))
	order := make([]int, len(contestants))
	for i := range order {
		order[i] = i
		out[i] = make(samples, 0, rounds)
	}
	// Collections are kept out of the slices, where they would fall at random: allocations are counted instead.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	for round := range rounds {
		if round%roundsPerCollection == 0 {
			runtime.GC()
		}
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			runtime.ReadMemStats(&before)
			began := cpuTime()
			contestants[i].do(n[i])
			took := cpuTime() - began
			runtime.ReadMemStats(&after)
			times := float64(n[i])
			out[i] = append(out[i], sample{
				ns:     float64(took.Nanoseconds()) / times,
				allocs: float64(after.Mallocs-before.Mallocs) / times,
				bytes:  float64(after.TotalAlloc-before.TotalAlloc) / times,
			})
		}
	}
	return out
}

// calibrate returns how often a slice does it.
func calibrate(do func(n int)) int {
	do(1) // what is made once is made here
	for n := 1; ; n *= 2 {
		began := cpuTime()
		do(n)
		if took := cpuTime() - began; took >= sliceTime/2 {
			return max(1, int(float64(n)*float64(sliceTime)/float64(took)))
		}
	}
}

// estimate is a median with the bounds between which it lies with 95 % confidence.
type estimate struct {
	mid, low, high float64
}

// format formats an estimate as "mid (low to high)".
func (e estimate) format(verb string) string {
	return fmt.Sprintf(verb+" ("+verb+" to "+verb+")", e.mid, e.low, e.high)
}

// resamples is how often the bootstrap draws.
const resamples = 2000

// estimated returns the median of x, with bounds by the percentile bootstrap (Efron, https://doi.org/10.1214/aos/1176344552).
func estimated(x []float64) estimate {
	r := rand.New(rand.NewPCG(1, uint64(len(x)))) // the same figures give the same bounds
	medians := make([]float64, resamples)
	draw := make([]float64, len(x))
	for i := range medians {
		for j := range draw {
			draw[j] = x[r.IntN(len(x))]
		}
		medians[i] = median(draw)
	}
	slices.Sort(medians)
	return estimate{median(slices.Clone(x)), medians[resamples*25/1000], medians[resamples*975/1000-1]}
}

// median returns the median of x, which it sorts.
func median(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	if n%2 == 1 {
		return x[n/2]
	}
	return (x[n/2-1] + x[n/2]) / 2
}

// beyond returns what s takes more than base, pair by pair.
func (s samples) beyond(base samples) []float64 {
	out := make([]float64, len(s))
	for i := range s {
		out[i] = s[i].ns - base[i].ns
	}
	return out
}

// ratioOfMedians returns the median of x in proportion to that of y, which were measured in pairs: pairs are drawn.
func ratioOfMedians(x, y []float64) estimate {
	r := rand.New(rand.NewPCG(2, uint64(len(x))))
	ratios := make([]float64, resamples)
	a, b := make([]float64, len(x)), make([]float64, len(x))
	for i := range ratios {
		for j := range a {
			k := r.IntN(len(x))
			a[j], b[j] = x[k], y[k]
		}
		ratios[i] = median(a) / median(b)
	}
	slices.Sort(ratios)
	return estimate{median(slices.Clone(x)) / median(slices.Clone(y)), ratios[resamples*25/1000], ratios[resamples*975/1000-1]}
}
