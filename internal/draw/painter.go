package draw

import (
	"io"
	"os"

	"github.com/charmbracelet/lipgloss"
	"github.com/mattn/go-isatty"
	"github.com/muesli/termenv"
)

// Painter colours text. The zero value and nil leave it as it is.
type Painter struct {
	styles map[ink]lipgloss.Style
}

// NewPainter returns a painter for w: colours on a terminal alone, and none where NO_COLOR is set to anything
// (https://no-color.org) or TERM is dumb.
func NewPainter(w io.Writer) *Painter {
	if !IsTerminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return &Painter{}
	}
	return newPainter(w, termenv.EnvColorProfile())
}

func newPainter(w io.Writer, profile termenv.Profile) *Painter {
	r := lipgloss.NewRenderer(w)
	r.SetColorProfile(profile)
	style := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	return &Painter{styles: map[ink]lipgloss.Style{
		inkBaseline: style("25", "75"),
		inkLane:     style("130", "214").Bold(true),
		inkBad:      style("160", "203").Bold(true),
		inkGood:     style("28", "78").Bold(true),
		inkDim:      style("245", "242"),
		inkHead:     r.NewStyle().Bold(true),
	}}
}

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

func (p *Painter) paint(i ink, s string) string {
	if p == nil {
		return s
	}
	style, ok := p.styles[i]
	if !ok {
		return s
	}
	return style.Render(s)
}

// Good colours what is right; like the others it takes one piece of text without line breaks.
func (p *Painter) Good(s string) string { return p.paint(inkGood, s) }

// Bad colours what is wrong.
func (p *Painter) Bad(s string) string { return p.paint(inkBad, s) }

// Dim colours what matters less.
func (p *Painter) Dim(s string) string { return p.paint(inkDim, s) }

// Head colours a heading.
func (p *Painter) Head(s string) string { return p.paint(inkHead, s) }

// Lane colours what belongs to a lane.
func (p *Painter) Lane(s string) string { return p.paint(inkLane, s) }

// Baseline colours what belongs to the baseline.
func (p *Painter) Baseline(s string) string { return p.paint(inkBaseline, s) }
