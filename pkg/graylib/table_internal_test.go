package graylib

import (
	"fmt"
	"math"
	"slices"
	"strings"
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

// However many lanes there are, and however they are named, each tag has its own lane's route, and a tag that isn't among them none.
func TestEveryLaneIsFound(t *testing.T) {
	names := rapid.OneOf(rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?`), rapid.StringMatching(`lane-[ab]{0,27}`), rapid.StringMatching(`[ab]{1,3}`)).
		Filter(func(s string) bool { return Tag(s).Valid() })
	rapid.Check(t, func(t *rapid.T) {
		list := []Instance{{Addr: "baseline:1", Weight: 1}}
		lanes := rapid.SliceOfNDistinct(names, 0, 150, rapid.ID).Draw(t, "lanes")
		for _, lane := range lanes {
			list = append(list, Instance{Addr: lane + ":1", Weight: 1, Tag: Tag(lane)})
		}
		v := newView(NewSnapshot(list), nil, "")
		for _, lane := range lanes {
			if r := v.route(Tag(strings.Clone(lane))); r[0].set.instances[0].Addr != lane+":1" || r[0].reason != codeLane {
				t.Fatalf("tag %q is routed to %s, %s", lane, r[0].set.instances[0].Addr, r[0].reason.reason())
			}
		}
		if r := v.route(Untagged); r[0].reason != codeBaseline || r[0].set.instances[0].Addr != "baseline:1" {
			t.Fatalf("without a tag: %+v", r[0])
		}
		nobody := rapid.OneOf(names, rapid.String()).Filter(func(s string) bool { return s != "" && !slices.Contains(lanes, s) }).Draw(t, "nobody")
		if r := v.route(Tag(nobody)); r[0].reason != codeNoInstance || r[0].set.instances[0].Addr != "baseline:1" {
			t.Fatalf("tag %q without an instance is routed to %+v", nobody, r[0])
		}
	})
}

// Tags of which there may be many at a time stand about where they belong: a look-up is a comparison or two.
func TestLanesStandNearTheirPlaces(t *testing.T) {
	for name, tag := range map[string]func(i int) Tag{
		"counted":      func(i int) Tag { return Tag(fmt.Sprintf("lane-%d", i)) },
		"counted long": func(i int) Tag { return Tag(fmt.Sprintf("team-payments-%d-of-spring-release", i)[:MaxTagLength]) },
		"letters":      func(i int) Tag { return Tag([]byte{'a' + byte(i%26), 'a' + byte(i/26)}) },
		"hexadecimal":  func(i int) Tag { return Tag(fmt.Sprintf("pr-%08x", i*2654435761)) },
	} {
		const n = 100
		l, steps := newLaneRoutes(n, nil), 0
		for i := range n {
			l.add(tag(i), nil)
			steps += (slices.IndexFunc(l.slots, func(s laneRoute) bool { return s.tag == tag(i) }) - int(tag(i).hash())) & (len(l.slots) - 1)
		}
		if steps > n {
			t.Errorf("%s: %d tags stand %d steps behind their places in all", name, n, steps)
		}
	}
}
