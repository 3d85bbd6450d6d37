package graylib

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// shares returns the exact probability of each instance under the table.
func (t *aliasTable) shares() []float64 {
	n := float64(len(t.prob))
	p := make([]float64, len(t.prob))
	for i := range t.prob {
		p[i] += t.prob[i] / n
		p[t.other[i]] += (1 - t.prob[i]) / n
	}
	return p
}

func TestAliasTableIsExact(t *testing.T) {
	weight := rapid.OneOf(rapid.Float64Range(0.01, 100), rapid.SampledFrom([]float64{1, 1, 2, 1e-9, 1e9, math.SmallestNonzeroFloat64, math.MaxFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(weight, 2, 40).Draw(t, "weights")
		instances := make([]Instance, len(weights))
		top := 0.0
		for i, w := range weights {
			instances[i].Weight = w
			top = max(top, w)
		}
		table := newAliasTable(instances)
		if table == nil {
			for _, w := range weights {
				if w != weights[0] {
					t.Fatal("no table for different weights")
				}
			}
			return
		}
		sum := 0.0
		for _, w := range weights {
			sum += w / top
		}
		for i, p := range table.shares() {
			if want := weights[i] / top / sum; math.Abs(p-want) > 1e-12 {
				t.Fatalf("instance %d of weight %g gets %g, want %g", i, weights[i], p, want)
			}
			if table.prob[i] < 0 || table.prob[i] > 1 {
				t.Fatalf("probability %g", table.prob[i])
			}
		}
	})
}

// The picks follow the table: each count is within six standard deviations, which chance exceeds once in 500 million.
func TestWeightedPicks(t *testing.T) {
	weights := []float64{1, 2, 3, 94}
	instances := make([]Instance, len(weights))
	for i, w := range weights {
		instances[i] = Instance{Addr: string(rune('a' + i)), Weight: w}
	}
	set := newSet(instances)
	const picks = 100_000
	count := map[string]int{}
	for range picks {
		in, ok := set.Pick()
		if !ok {
			t.Fatal("nothing picked")
		}
		count[in.Addr]++
	}
	for _, in := range instances {
		p := in.Weight / 100
		mean, deviation := picks*p, math.Sqrt(picks*p*(1-p))
		if got := float64(count[in.Addr]); math.Abs(got-mean) > 6*deviation {
			t.Errorf("weight %g: %g of %d picks, want %g ± %g", in.Weight, got, picks, mean, 6*deviation)
		}
	}
}

// However many lanes there are, and by whichever way they are found, each tag has its own lane's route.
func TestEveryLaneIsFound(t *testing.T) {
	for lanes := range 2*fewLanes + 2 {
		list := []Instance{{Addr: "h:1", Weight: 1}}
		for i := range lanes {
			list = append(list, Instance{Addr: fmt.Sprintf("h:%d", i+2), Weight: 1, Tag: Tag(fmt.Sprintf("lane-%d", i))})
		}
		v := newView(NewSnapshot(list), nil, "")
		for _, in := range list {
			if r := v.route(in.Tag); r[0].set.instances[0].Addr != in.Addr {
				t.Errorf("%d lanes: tag %q is routed to %s, want %s", lanes, in.Tag, r[0].set.instances[0].Addr, in.Addr)
			}
		}
		if r := v.route("nobody"); r[0].reason != codeNoInstance || r[0].set.instances[0].Addr != "h:1" {
			t.Errorf("%d lanes: a tag without an instance is routed to %+v", lanes, r[0])
		}
	}
}
