package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
)

// quoted is s as it stands in a JSON log.
func quoted(s string) string {
	var sb strings.Builder
	enc := json.NewEncoder(&sb)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(sb.String())
}

// countInLog returns how many lines of an instance's log hold all parts.
func countInLog(t *testing.T, s *suite.Suite, instance string, parts ...string) int {
	t.Helper()
	n := 0
	for _, i := range s.Instances() {
		if st, err := i.Status(t.Context()); err != nil || st.Instance != instance {
			continue
		}
		b, err := os.ReadFile(i.Log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				n++
			}
		}
	}
	return n
}

// inLog waits until one line of the instance's log holds all parts.
func inLog(t *testing.T, s *suite.Suite, instance string, parts ...string) {
	t.Helper()
	eventually(t, patience, "a line with "+strings.Join(parts, " and ")+" in the log of "+instance, func() bool {
		return countInLog(t, s, instance, parts...) > 0
	})
}

// eventually polls until met, and fails the test at the deadline.
func eventually(t *testing.T, limit time.Duration, what string, met func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(began)
}
