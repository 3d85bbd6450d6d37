package doctorcmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/graychain/graychain/internal/draw"
)

// Level is what a finding means.
type level string

const (
	ok      level = "ok"
	note    level = "note"        // nothing is wrong; good to know
	warning level = "warning"     // it works, and may surprise
	failed  level = "failed"      // it has to be mended
	skipped level = "not checked" // something else has to be mended first
)

// finding is the result of one check about one thing.
type finding struct {
	Level level  `json:"level"`
	Check string `json:"check"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what to do; commands are on lines of their own
}

// report collects findings in the order of the checks.
type report struct {
	Nacos    string    `json:"nacos"`
	Namesrv  string    `json:"namesrv"`
	OK       bool      `json:"ok"` // nothing failed
	Findings []finding `json:"findings"`
}

func (r *report) add(l level, check, fix, format string, args ...any) {
	text := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	r.Findings = append(r.Findings, finding{Level: l, Check: check, Text: text, Fix: fix})
}

func (r *report) count(l level) (n int) {
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// write writes a line per finding, what to do below it, and the sum.
func (r *report) write(out io.Writer) error {
	paint := draw.NewPainter(out)
	marks := map[level]string{
		ok: paint.Good("✔"), note: paint.Dim("·"), warning: paint.Lane("!"), failed: paint.Bad("✘"), skipped: paint.Dim("?"),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nacos %s, name server %s\n", r.Nacos, r.Namesrv)
	for _, f := range r.Findings {
		text := f.Text
		if f.Level == skipped {
			text = "not checked: " + text
		}
		fmt.Fprintf(&b, "  %s %-14s %s\n", marks[f.Level], f.Check, text)
		for l := range strings.Lines(f.Fix) {
			fmt.Fprintf(&b, "    %-14s -> %s\n", "", strings.TrimSuffix(l, "\n"))
		}
	}
	var parts []string
	for _, l := range []level{failed, warning, note, skipped, ok} {
		if n := r.count(l); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, l))
		}
	}
	fmt.Fprintln(&b, strings.Join(parts, ", "))
	_, err := io.WriteString(out, b.String())
	return err
}
