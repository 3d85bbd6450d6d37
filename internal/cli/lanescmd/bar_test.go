package lanescmd

import (
	"bytes"
	"strings"
	"testing"
)

// TestBar: on a terminal the bar fills as what is counted becomes less, and begins anew where something else is counted.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out)
	b.live = true
	full := func(n int64, of string) int {
		out.Reset()
		b.show(n, of, "text")
		return strings.Count(out.String(), "█")
	}
	for _, step := range []struct {
		n    int64
		of   string
		want int
	}{{60, "seconds", 0}, {30, "seconds", 10}, {4, "messages", 0}, {1, "messages", 15}, {8, "messages", 0}, {0, "messages", 20}, {-1, "", 0}} {
		if got := full(step.n, step.of); got != step.want {
			t.Errorf("%d %s left: %d of %d are full, want %d", step.n, step.of, got, barWidth, step.want)
		}
	}
}
