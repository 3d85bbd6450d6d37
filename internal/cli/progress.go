package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/suite"
)

// progress shows what a start is doing: on a terminal a line a part that is rewritten, elsewhere a line a step.
type progress struct {
	w     io.Writer
	paint *draw.Painter
	live  bool
	title string // said before the first step
	begun time.Time

	mu    sync.Mutex
	parts []part
	drawn int // lines on the terminal
	stop  chan struct{}
	done  chan struct{}
}

type part struct {
	suite.Progress
	since time.Time
}

const progressEvery = 120 * time.Millisecond

func newProgress(w io.Writer, title string) *progress {
	p := &progress{w: w, title: title, paint: draw.NewPainter(w), live: draw.IsTerminal(w), begun: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	if !p.live {
		close(p.done)
		return p
	}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.mu.Lock()
				p.redraw()
				p.mu.Unlock()
			case <-p.stop:
				p.mu.Lock()
				p.redraw()
				p.mu.Unlock()
				return
			}
		}
	}()
	return p
}

// step takes one step; it is a suite.Options.Progress.
func (p *progress) step(s suite.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.title != "" {
		_, _ = fmt.Fprintln(p.w, p.title)
		p.title = ""
	}
	found := false
	for k := range p.parts {
		if p.parts[k].Part == s.Part {
			if p.parts[k].Progress == s {
				return
			}
			since := p.parts[k].since
			if p.parts[k].Done {
				since = time.Now()
			}
			p.parts[k] = part{s, since}
			found = true
		}
	}
	if !found {
		p.parts = append(p.parts, part{s, time.Now()})
	}
	if !p.live {
		_, _ = fmt.Fprintln(p.w, p.line(part{s, time.Now()}))
	}
}

// close ends the showing; what was shown stays.
func (p *progress) close() {
	p.mu.Lock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	<-p.done
}

func (p *progress) redraw() {
	var sb strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&sb, "\x1b[%dA", p.drawn)
	}
	for _, part := range p.parts {
		sb.WriteString("\r\x1b[2K" + p.line(part) + "\n")
	}
	p.drawn = len(p.parts)
	_, _ = io.WriteString(p.w, sb.String())
}

var frames = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

func (p *progress) line(s part) string {
	mark, took := p.paint.Dim("·"), ""
	switch {
	case s.Done:
		mark, took = p.paint.Good("✔"), fmt.Sprintf("%.1f s", s.Took.Seconds())
	case p.live:
		mark = string(frames[int(time.Since(p.begun)/progressEvery)%len(frames)])
		took = fmt.Sprintf("%.0f s", time.Since(s.since).Seconds())
	}
	text := s.Text
	if len(text) > 66 {
		text = text[:66] + "…"
	}
	return strings.TrimRight(fmt.Sprintf("  %s %-12s %-48s %s", mark, s.Part, text, p.paint.Dim(took)), " ")
}
