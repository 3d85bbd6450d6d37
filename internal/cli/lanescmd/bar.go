package lanescmd

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/graychain/graychain/internal/draw"
)

// bar shows how much is left: on a terminal one line that is rewritten, elsewhere a line for each change.
type bar struct {
	w     io.Writer
	paint *draw.Painter
	live  bool
	most  int64  // the greatest number that was left
	of    string // what it counts
	last  string
	open  bool // a line on the terminal is unfinished
}

func newBar(w io.Writer) *bar {
	return &bar{w: w, paint: draw.NewPainter(w), live: draw.IsTerminal(w)}
}

const (
	barWidth  = 20
	lineWidth = 76 // of the text, so that a line isn't broken
)

// show shows that n are left (-1 = a number doesn't say it), and the text. Where something else is counted than before it begins anew.
func (b *bar) show(n int64, of, text string) {
	if !b.live {
		if text != b.last {
			_, _ = fmt.Fprintln(b.w, text)
		}
		b.last = text
		return
	}
	line := "  "
	if n >= 0 {
		if of != b.of {
			b.most, b.of = 0, of
		}
		b.most = max(b.most, n)
		done := barWidth
		if b.most > 0 {
			done = int((b.most - n) * barWidth / b.most)
		}
		line += b.paint.Good(strings.Repeat("█", done)) + b.paint.Dim(strings.Repeat("░", barWidth-done)) + "  "
	}
	if utf8.RuneCountInString(text) > lineWidth {
		text = string([]rune(text)[:lineWidth-1]) + "…"
	}
	_, _ = io.WriteString(b.w, "\r\x1b[2K"+line+text)
	b.open = true
}

// pause ends the line on the terminal, for others to write.
func (b *bar) pause() {
	if b.open {
		_, _ = io.WriteString(b.w, "\n")
		b.open = false
	}
}

// close ends the showing; what was shown stays.
func (b *bar) close() { b.pause() }
