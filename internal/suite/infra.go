package suite

import (
	"context"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/proc"
)

// LocalInfra starts the real servers as local Java processes.
type LocalInfra struct {
	// Options are handed on; State, Group and Progress are the suite's.
	Options localinfra.Options
}

// LocalServers are the servers that LocalInfra started; the embedded value can stop, kill, freeze and restart each.
type LocalServers struct{ *localinfra.Servers }

// Start implements [Infra].
func (l LocalInfra) Start(ctx context.Context, group *proc.Group, state string, progress func(Progress)) (Servers, error) {
	o := l.Options
	o.State, o.Group = state, group
	o.Progress = func(e localinfra.Event) {
		if p, ok := ServerProgress(e); ok {
			progress(p)
		}
	}
	servers, err := localinfra.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return LocalServers{servers}, nil
}

// ServerProgress is an event of a server's start in words; false says that there is nothing to show.
func ServerProgress(e localinfra.Event) (Progress, bool) {
	if e.Server == "servers" && e.Step == "start" {
		return Progress{}, false // all of them together: each is shown by itself
	}
	text := e.Step
	if word, ok := steps[e.Step]; ok {
		text = word
	}
	if e.Done && e.Step == "start" {
		text = "ready on"
	}
	if e.Detail != "" {
		text += " " + e.Detail
	}
	if e.Problem != nil {
		text += ": " + e.Problem.Error()
	}
	return Progress{Part: e.Server, Text: text, Done: e.Done, Took: e.Took}, true
}

// steps are localinfra's steps, for people.
var steps = map[string]string{
	"wait": "waiting for another start", "fetch": "fetching", "compile": "compiling", "archive": "recording classes, once", "start": "starting",
	"java": "JDK",
}

// Endpoints implements [Servers].
func (l LocalServers) Endpoints() []Endpoint {
	var out []Endpoint
	main := map[string]*localinfra.Server{}
	for _, s := range []*localinfra.Server{l.Nacos, l.Namesrv, l.Broker} {
		main[s.Addr()] = s
	}
	for _, p := range l.Ports() {
		e := Endpoint{Name: p.Server, Addr: addr(p.Number), What: p.Purpose, Exposed: p.Everywhere}
		if s := main[e.Addr]; s != nil {
			if proc := s.Process(); proc != nil {
				e.PID, e.Log = proc.PID(), proc.Spec().Log
			}
		}
		out = append(out, e)
	}
	return out
}
