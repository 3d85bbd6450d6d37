// Package draw renders a loop for people: who the request went through, the message that it caused, who consumed it, and
// the verdict. A row is a lane, a column a step; a lane's boxes have double borders and say their tag, so that the drawing
// can be read without colour. It is at most 100 columns wide.
package draw

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// Width is the greatest width of a drawing in columns.
const Width = 100

// The grid: the label of a row, then four boxes with three gaps between them, and a margin for the line that goes back.
const (
	left      = 10
	boxWidth  = 15
	boxHeight = 4
	gap       = 7
	columns   = 4
	right     = left + columns*boxWidth + (columns-1)*gap // behind the last box
	margin    = right + 3                                 // where the line goes back
	trunk     = left + 4                                  // where the message goes down
	msgWidth  = right - left - 6
)

// Picture is what is drawn.
type Picture struct {
	Request string // e.g. "GET /A/dubbo?name=xiaoming"
	Tag     graylib.Tag
	Loop    observer.Loop
	Verdict verdict.Verdict
	Took    time.Duration // from the request to its answer, as the client saw it; 0 = not known
}

// Loop draws the picture to w.
func Loop(w io.Writer, p *Painter, pic Picture) error {
	_, err := io.WriteString(w, strings.Join(render(p, pic), "\n")+"\n")
	return err
}

func render(p *Painter, pic Picture) []string {
	s := sketch{pic: pic}
	s.head()
	s.request()
	for i, m := range pic.Loop.Messages {
		s.message(m, i == 0)
	}
	s.verdict()
	return s.c.strings(p.paint)
}

type sketch struct {
	c   canvas
	pic Picture
	// exitX and exitY are where the request's last box is left, for the line to the first message.
	exitX, exitY int
}

// head writes the first line: what was asked, and the request's id.
func (s *sketch) head() {
	i := inkOf(s.pic.Tag)
	name := "untagged"
	if s.pic.Tag != graylib.Untagged {
		name = string(s.pic.Tag)
	}
	x := 0
	put := func(t string, i ink) {
		s.c.text(x, 0, t, i)
		x += utf8.RuneCountInString(t)
	}
	put("── ", inkDim)
	put(name, i)
	put("  ", inkDim)
	id := ""
	if s.pic.Loop.RequestID != "" {
		id = " request " + clip(s.pic.Loop.RequestID, 14) + " ──"
	}
	end := Width - utf8.RuneCountInString(id)
	put(clip(s.pic.Request, max(8, end-x-3))+" ", inkHead)
	s.c.line(x, end-1, 0, inkDim)
	s.c.text(end, 0, id, inkDim)
}

// request draws the request's hops.
func (s *sketch) request() {
	s.exitX = -1
	chain := s.pic.Loop.Chain
	top := s.c.height() + 1
	if chain == nil || len(chain.Hops) == 0 {
		s.c.text(left, top, "✗ nothing is known of the request's way", inkBad)
		return
	}
	y := s.hops(chain.Hops, 0, top, s.pic.Tag, "")
	s.c.text(0, y+2, " client ─▶", inkDim)
	if s.pic.Loop.Messages != nil {
		n := min(len(chain.Hops), columns)
		last := chain.Hops[n-1]
		s.exitX = left + (n-1)*(boxWidth+gap) + boxWidth
		s.exitY = top + boxHeight*rowOf(rows(chain.Hops[:n], s.pic.Tag), last.Tag) + 1
	}
}

// hops draws a chain from a column on, each lane in a row of its own from y top on, and returns the first box's y.
func (s *sketch) hops(hops []graylib.Hop, col, top int, tag graylib.Tag, event string) int {
	shown := hops[:min(len(hops), columns-col)]
	lanes := rows(shown, tag)
	for r, lane := range lanes {
		s.c.text(1, top+r*boxHeight+1, clip(laneName(lane), left-2), inkOf(lane))
	}
	first := 0
	for i, h := range shown {
		x := left + (col+i)*(boxWidth+gap)
		y := top + boxHeight*rowOf(lanes, h.Tag)
		if i == 0 {
			first = y
		} else {
			s.arrow(x-gap, top+boxHeight*rowOf(lanes, shown[i-1].Tag)+1, y+1, string(h.Protocol), inkOf(h.RequestTag))
		}
		s.hop(x, y, h, s.wrong(i, event))
	}
	if more := hops[len(shown):]; len(more) > 0 {
		var names []string
		for _, h := range more {
			names = append(names, verdict.Name(h.Service, h.Tag)+" "+short(h.Addr))
		}
		s.c.text(left, s.c.height(), clip("then "+strings.Join(names, ", "), right-left), inkDim)
	}
	return first
}

// hop draws one instance.
func (s *sketch) hop(x, y int, h graylib.Hop, wrong bool) {
	f, i := single, inkOf(h.Tag)
	if h.Tag != graylib.Untagged {
		f = double
	}
	bottom, bottomInk := "", inkDim
	switch {
	case wrong:
		bottom, bottomInk = "✗ wrong", inkBad
	case strings.HasPrefix(string(h.Reason), "fallback: "):
		bottom = "fallback"
	}
	s.c.box(x, y, boxWidth, boxHeight, f, i, "", bottom, bottomInk)
	name := h.Service
	if len(name) == 1 {
		name = strings.ToUpper(name)
	}
	s.c.text(x+2, y+1, clip(name, boxWidth-4), i)
	if room := boxWidth - 5 - utf8.RuneCountInString(name); room >= 4 && h.Service != "gateway" {
		t := clip(laneName(h.Tag), room)
		s.c.text(x+boxWidth-2-utf8.RuneCountInString(t), y+1, t, i)
	}
	s.c.text(x+2, y+2, clip(short(h.Addr), boxWidth-4), inkDim)
}

// arrow goes through a gap that begins at x, from the line y0 to the line y1.
func (s *sketch) arrow(x, y0, y1 int, label string, i ink) {
	turn := x + gap - 2
	s.c.line(x, turn, y0, i)
	s.c.text(x+1, y0, clip(label, gap-3), i)
	if y0 != y1 {
		from, to, step := '┐', '└', 1
		if y1 < y0 {
			from, to, step = '┘', '┌', -1
		}
		s.c.set(turn, y0, from, i)
		for y := y0 + step; y != y1; y += step {
			s.c.set(turn, y, '│', i)
		}
		s.c.set(turn, y1, to, i)
	}
	s.c.set(turn+1, y1, '▶', i)
}

// wrong tells whether a finding is about a hop of the request's chain (event empty) or of a consumption.
func (s *sketch) wrong(hop int, event string) bool {
	return slices.ContainsFunc(s.pic.Verdict.Findings, func(f verdict.Finding) bool { return f.Hop == hop && f.EventID == event })
}

// message draws a message, and below it who consumed it.
func (s *sketch) message(m observer.Message, first bool) {
	i, f := inkOf(m.Tag), single
	if m.Tag != graylib.Untagged {
		f = double
	}
	y := s.c.height() + 1
	if first && s.exitX >= 0 { // the line from the last hop, down the margin, and back
		s.c.line(s.exitX, margin-1, s.exitY, i)
		s.c.set(margin, s.exitY, '┐', i)
		s.c.column(margin, s.exitY+1, y, i)
		s.c.set(margin, y+1, '┘', i)
		s.c.line(left+msgWidth+1, margin-1, y+1, i)
		s.c.set(left+msgWidth, y+1, '◀', i)
	}
	s.c.box(left, y, msgWidth, 3, f, i, m.Topic, "", i)
	says := "message " + m.ID + "  " + markName(m.Tag)
	if len(m.Produced) > 0 && m.Produced[0].Queue != "" {
		says += "  queue " + m.Produced[0].Queue
	}
	s.c.text(left+2, y+1, clip(says, msgWidth-4), i)

	y += 3
	handled := m.Handled()
	skipped := m.Skipped()
	// Whoever consumed it, the lane's own first.
	slices.SortStableFunc(handled, func(a, b graylib.Event) int { return strings.Compare(string(b.Tag), string(a.Tag)) })
	drawn := trunkLine{s: s, from: y, ink: i}
	for _, e := range handled {
		y = s.consumption(e, m, y, &drawn)
	}
	for _, e := range skipped {
		drawn.branch(y, "╌ ", inkDim)
		says := "skipped by " + verdict.Name(e.Service, e.Tag)
		if e.Group != "" {
			says += ", group " + e.Group
		}
		if e.Reason != "" {
			says += ": " + e.Reason
		}
		s.c.text(trunk+3, y, clip(says, Width-trunk-3), inkDim)
		y++
	}
	if len(handled) == 0 {
		text, ink := "waits: nobody may consume it", inkDim
		switch {
		case !s.pic.Verdict.Closed:
			text, ink = "✗ consumed by nobody", inkBad
		case known(m):
			text = "was handled, as its idempotency store says; by whom nobody reported"
		}
		drawn.branch(y, "╌ ", ink)
		s.c.text(trunk+3, y, text, ink)
	}
}

// known tells whether a message's idempotency store said that it was handled.
func known(m observer.Message) bool {
	return slices.ContainsFunc(m.Skipped(), func(e graylib.Event) bool { return e.Reason == graylib.MessageReasonDuplicate })
}

// consumption draws one delivery's chain from y on, and returns where the next may begin.
func (s *sketch) consumption(e graylib.Event, m observer.Message, y int, t *trunkLine) int {
	at := y + 1
	if len(e.Hops) > 0 {
		at = s.hops(e.Hops, 1, y, m.Tag, e.EventID) + 1
	} else {
		s.c.text(left+boxWidth+gap, at, verdict.Name(e.Service, e.Tag)+", its hops are not known", inkBad)
	}
	group := e.Group
	if group == "" {
		group = "mq"
	}
	t.branch(at, "─", inkOf(m.Tag))
	x0, x1 := trunk+1, left+boxWidth+gap-1
	s.c.line(x0, x1-1, at, inkOf(m.Tag))
	s.c.text(x0+1, at, clip(group, x1-x0-2), inkOf(m.Tag))
	s.c.set(x1, at, '▶', inkOf(m.Tag))
	return s.c.height()
}

// trunkLine is the line from a message down to its consumers; it grows with each branch.
type trunkLine struct {
	s    *sketch
	from int
	last int // the line of the last branch; 0 = none
	ink  ink
}

func (t *trunkLine) branch(y int, then string, i ink) {
	if t.last > 0 {
		t.s.c.set(trunk, t.last, '├', t.ink)
	} else {
		tee := '┬'
		if t.s.c.rows[t.from-1][trunk].r == double.h {
			tee = '╤'
		}
		t.s.c.set(trunk, t.from-1, tee, t.ink)
	}
	for k := max(t.from, t.last+1); k < y; k++ {
		t.s.c.set(trunk, k, '│', t.ink)
	}
	t.s.c.set(trunk, y, '└', t.ink)
	t.s.c.text(trunk+1, y, then, i)
	t.last = y
}

// verdict writes the last lines: closed, or what is missing and wrong.
func (s *sketch) verdict() {
	y := s.c.height() + 1
	if s.pic.Verdict.Closed {
		s.c.text(0, y, " ✔ closed", inkGood)
		s.c.text(10, y, clip(s.times(), Width-10), inkDim)
		return
	}
	s.c.text(0, y, " ✗ NOT closed", inkBad)
	for _, f := range s.pic.Verdict.Findings {
		for k, line := range wrap(f.String(), Width-5) {
			y++
			if k == 0 {
				s.c.text(3, y, "•", inkBad)
			}
			s.c.text(5, y, line, inkNone)
		}
	}
}

// times says how long the parts of the loop took, from the events' own times.
func (s *sketch) times() string {
	var parts []string
	if s.pic.Took > 0 {
		parts = append(parts, "request answered in "+millis(s.pic.Took))
	}
	var last time.Duration
	waits := 0
	for _, m := range s.pic.Loop.Messages {
		if len(m.Handled()) == 0 && !known(m) {
			waits++
		}
		for _, e := range m.Handled() {
			if sent := m.Sent(); !sent.IsZero() {
				last = max(last, e.Time.Sub(sent))
			}
		}
	}
	if waits > 0 {
		parts = append(parts, "the message waits, as the mode says")
	}
	if last > 0 {
		parts = append(parts, "message consumed "+millis(last)+" after it was sent")
	}
	return strings.Join(parts, ", ")
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}
