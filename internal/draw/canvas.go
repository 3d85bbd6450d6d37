package draw

import (
	"strings"
	"unicode/utf8"
)

// ink says what a cell is about; the painter knows its colour.
type ink uint8

const (
	inkNone ink = iota
	inkBaseline
	inkLane
	inkBad
	inkGood
	inkDim
	inkHead
)

type cell struct {
	r   rune
	ink ink
}

// canvas is a grid of characters that grows as it is written to. Every character used is one column wide.
type canvas struct {
	rows [][]cell
}

func (c *canvas) height() int { return len(c.rows) }

func (c *canvas) set(x, y int, r rune, i ink) {
	if x < 0 || y < 0 {
		return
	}
	for len(c.rows) <= y {
		c.rows = append(c.rows, nil)
	}
	for len(c.rows[y]) <= x {
		c.rows[y] = append(c.rows[y], cell{' ', inkNone})
	}
	c.rows[y][x] = cell{r, i}
}

func (c *canvas) text(x, y int, s string, i ink) {
	for _, r := range s {
		c.set(x, y, r, i)
		x++
	}
}

// line draws horizontally from x0 to x1, both included.
func (c *canvas) line(x0, x1, y int, i ink) {
	for x := x0; x <= x1; x++ {
		c.set(x, y, '─', i)
	}
}

// column draws vertically from y0 to y1, both included.
func (c *canvas) column(x, y0, y1 int, i ink) {
	for y := y0; y <= y1; y++ {
		c.set(x, y, '│', i)
	}
}

// frame is how a box's border looks. Lanes have a double one, so that they are told apart without colour.
type frame struct{ tl, tr, bl, br, h, v rune }

var (
	single = frame{'┌', '┐', '└', '┘', '─', '│'}
	double = frame{'╔', '╗', '╚', '╝', '═', '║'}
)

// box draws a border of w by h with text in its top and its bottom edge.
func (c *canvas) box(x, y, w, h int, f frame, i ink, top, bottom string, bottomInk ink) {
	for k := 1; k < w-1; k++ {
		c.set(x+k, y, f.h, i)
		c.set(x+k, y+h-1, f.h, i)
	}
	for k := 1; k < h-1; k++ {
		c.set(x, y+k, f.v, i)
		c.set(x+w-1, y+k, f.v, i)
	}
	c.set(x, y, f.tl, i)
	c.set(x+w-1, y, f.tr, i)
	c.set(x, y+h-1, f.bl, i)
	c.set(x+w-1, y+h-1, f.br, i)
	if top != "" {
		c.text(x+2, y, " "+clip(top, w-6)+" ", i)
	}
	if bottom != "" {
		c.text(x+2, y+h-1, " "+clip(bottom, w-6)+" ", bottomInk)
	}
}

// strings renders the rows without trailing spaces, each run of one ink by paint.
func (c *canvas) strings(paint func(ink, string) string) []string {
	out := make([]string, len(c.rows))
	for y, row := range c.rows {
		end := len(row)
		for end > 0 && row[end-1].r == ' ' {
			end--
		}
		var sb, run strings.Builder
		current := inkNone
		flush := func() {
			if run.Len() > 0 {
				sb.WriteString(paint(current, run.String()))
				run.Reset()
			}
		}
		for _, cl := range row[:end] {
			if cl.ink != current && cl.r != ' ' {
				flush()
				current = cl.ink
			}
			run.WriteRune(cl.r)
		}
		flush()
		out[y] = sb.String()
	}
	return out
}

// clip shortens s to n characters, the last one then being an ellipsis.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	return string([]rune(s)[:n-1]) + "…"
}
