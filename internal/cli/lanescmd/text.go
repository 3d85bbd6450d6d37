package lanescmd

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/pkg/graylib"
)

const clock = "2006-01-02 15:04:05Z"

// write writes the view as text; with detail each queue too.
func (v view) write(out io.Writer, detail bool) error {
	paint := draw.NewPainter(out)
	revision := "rules unknown"
	switch {
	case v.Rules && v.Revision == 0:
		revision = "no rules are published"
	case v.Rules:
		revision = fmt.Sprintf("rules revision %d", v.Revision)
	}
	if _, err := fmt.Fprintf(out, "%s at nacos %s, name server %s\n", revision, v.Nacos, v.Namesrv); err != nil {
		return err
	}
	for _, p := range v.Problems {
		if _, err := fmt.Fprintf(out, "%s %s\n", paint.Bad("unknown:"), p); err != nil {
			return err
		}
	}
	for _, l := range v.Lanes {
		if err := l.write(out, paint, v.At, detail); err != nil {
			return err
		}
	}
	return nil
}

func (l lane) write(out io.Writer, paint *draw.Painter, now time.Time, detail bool) error {
	name := paint.Lane(string(l.Tag))
	if l.Tag == graylib.Untagged {
		name = paint.Baseline(baselineWord)
	}
	line := "\n" + name
	if s := l.state(now); s != "" {
		line += "  " + s
	}
	if _, err := fmt.Fprintln(out, line); err != nil {
		return err
	}
	var live []string
	for _, in := range l.Instances {
		s := in.Service + " " + in.Addr
		switch {
		case in.Problem != "":
			s += " (doesn't answer)"
		case !in.Ready:
			s += " (not ready: " + strings.Join(in.NotReady, "; ") + ")"
		}
		live = append(live, s)
	}
	if len(live) == 0 {
		live = []string{"none live"}
	}
	if _, err := fmt.Fprintln(out, "  instances: "+strings.Join(live, ", ")); err != nil {
		return err
	}
	var later []string
	if l.Halves != nil && *l.Halves > 0 {
		later = append(later, fmt.Sprintf("%d in open transactions", *l.Halves))
	}
	if l.Delayed != nil && *l.Delayed > 0 {
		later = append(later, fmt.Sprintf("%d sent with a delay", *l.Delayed))
	}
	if len(later) > 0 {
		if _, err := fmt.Fprintln(out, "  messages to come: "+strings.Join(later, ", ")); err != nil {
			return err
		}
	}
	if len(l.Groups) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "  GROUP\tMODE\tQUEUES\tWAITING\tOLDEST\tRETRIES\tDEAD\tCONSUMED BY")
	for _, g := range l.Groups {
		if g.Queues == nil { // the brokers are away
			_, _ = fmt.Fprintf(w, "  %s\t%s\t?\t?\t?\t?\t?\t%s\n", g.Name, orDash(g.mode()), g.who(l.Tag))
			continue
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", g.Name, orDash(g.mode()), len(g.Queues), g.Waiting, orDash(g.oldest(now)), g.Retries, g.DeadLetters, g.who(l.Tag))
	}
	if err := w.Flush(); err != nil || !detail {
		return err
	}
	for _, g := range l.Groups {
		if err := g.write(out); err != nil {
			return err
		}
	}
	return nil
}

// state says where a lane is in its life.
func (l lane) state(now time.Time) string {
	switch {
	case l.Tag == graylib.Untagged:
		return ""
	case l.Listed.IsZero():
		return "not listed in the rules"
	case !l.Until.IsZero() && now.Before(l.Until):
		return fmt.Sprintf("listed %s, retired, forgotten from %s on", l.Listed.UTC().Format(clock), l.Until.UTC().Format(clock))
	case !l.Until.IsZero():
		return fmt.Sprintf("listed %s, retired, being forgotten since %s", l.Listed.UTC().Format(clock), l.Until.UTC().Format(clock))
	default:
		return fmt.Sprintf("listed %s, %s", l.Listed.UTC().Format(clock), l.State)
	}
}

// mode is the group's mode, with the topics where they differ.
func (g group) mode() string {
	var modes []graylib.Mode
	for _, m := range g.Modes {
		if !slices.Contains(modes, m) {
			modes = append(modes, m)
		}
	}
	if len(modes) == 1 {
		return string(modes[0])
	}
	var list []string
	for _, topic := range slices.Sorted(maps.Keys(g.Modes)) {
		list = append(list, topic+" "+string(g.Modes[topic]))
	}
	return strings.Join(list, ", ")
}

// write lists a group's queues with their owners.
func (g group) write(out io.Writer) error {
	if _, err := fmt.Fprintf(out, "\n  %s\n", g.Name); err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "    TOPIC\tQUEUE\tCOMMITTED\tEND\tBEHIND\tOWNER\tSTATE")
	shown := func(topic, queue, committed, end, behind string) {
		who, state := "-", "-"
		for _, o := range g.Owned {
			if o.Topic == topic && o.Queue == queue {
				role := "own"
				if o.Role == graylib.RoleStandIn {
					role = "stand-in"
				}
				who, state = fmt.Sprintf("%s %s %s", role, o.Service, o.Addr), o.State
				if o.Waiting != "" {
					state += ", held back: " + o.Waiting
				}
			}
		}
		_, _ = fmt.Fprintf(w, "    %s\t%s\t%s\t%s\t%s\t%s\t%s\n", topic, queue, committed, end, behind, who, state)
	}
	for _, q := range slices.Concat(g.Queues, g.RetryQueues) {
		committed := "none"
		if q.Committed >= 0 {
			committed = fmt.Sprint(q.Committed)
		}
		shown(q.Topic, fmt.Sprintf("%s/%d", q.Broker, q.ID), committed, fmt.Sprint(q.End), fmt.Sprint(q.Behind))
	}
	for _, o := range g.Owned {
		if g.Queues == nil { // the brokers are away
			shown(o.Topic, o.Queue, "?", "?", "?")
		}
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
