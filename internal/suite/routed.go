package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// routedTimeout bounds the waiting for callers: a push takes half a second; one that was lost costs a poll.
const routedTimeout = 40 * time.Second

// WaitRouted waits until Nacos answers with exactly the live instances, each of these knows all of those that it has
// called, and no other, and applies the rules' revision last published by the suite. It returns an error that says who is
// behind, and in what.
func (s *Suite) WaitRouted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, routedTimeout)
	defer cancel()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		behind := s.behind(ctx)
		if len(behind) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("routes not settled: %s: %w", strings.Join(behind, "; "), context.Cause(ctx))
		}
	}
}

// behind asks all live instances at once, and says what each has not heard of.
func (s *Suite) behind(ctx context.Context) []string {
	live := s.Instances()
	live = slices.DeleteFunc(live, func(i *Instance) bool { return !i.Live() })
	want := map[string]map[graylib.Tag]int{}
	for _, i := range live {
		if want[i.Service] == nil {
			want[i.Service] = map[graylib.Tag]int{}
		}
		want[i.Service][i.Tag]++
	}
	revision := s.revision.Load()
	answers := make([]string, len(live)+1)
	var all sync.WaitGroup
	all.Go(func() { answers[len(live)] = s.registry(ctx, live) })
	for k, i := range live {
		all.Go(func() {
			st, err := i.Status(ctx)
			if err != nil {
				if i.Live() {
					answers[k] = err.Error()
				}
				return
			}
			if st.Rules.Revision < revision {
				answers[k] = fmt.Sprintf("%s has revision %d of the rules, published is %d", i.Name, st.Rules.Revision, revision)
				if st.Rules.Refusal != "" {
					answers[k] += " (refused: " + st.Rules.Refusal + ")"
				}
				return
			}
			answers[k] = missing(i.Name, st.Routes, want)
		})
	}
	all.Wait()
	return slices.DeleteFunc(answers, func(a string) bool { return a == "" })
}

// missing compares what one instance knows of those that it calls with what lives.
func missing(name string, routes graylib.Routes, want map[string]map[graylib.Tag]int) string {
	for endpoint, known := range routes {
		service := strings.TrimSuffix(endpoint, graylib.RPCServiceSuffix)
		for tag, n := range want[service] {
			if known[tag] != n {
				return fmt.Sprintf("%s knows %d of %d live instances of %s in %s", name, known[tag], n, endpoint, laneName(tag))
			}
		}
		for tag, n := range known {
			if want[service][tag] == 0 && n > 0 {
				return fmt.Sprintf("%s still knows %d instances of %s in %s", name, n, endpoint, laneName(tag))
			}
		}
	}
	return ""
}

func laneName(tag graylib.Tag) string {
	if tag == graylib.Untagged {
		return "the baseline"
	}
	return "lane " + string(tag)
}
