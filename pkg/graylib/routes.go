package graylib

import (
	"maps"
	"sync"
)

// Routes says which instances a process can reach now: for each endpoint that it has called (named as in the registry),
// their number by own tag. The baseline's key is the empty tag.
type Routes map[string]map[Tag]int

// routes remembers the tables that a runtime handed out; an endpoint's newest one counts.
type routes struct {
	mu     sync.Mutex
	tables map[string]*Table
}

func (r *routes) note(t *Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tables[t.Service()] == t {
		return
	}
	if r.tables == nil {
		r.tables = make(map[string]*Table)
	}
	r.tables[t.Service()] = t
}

// Routes returns what this process can reach now. An endpoint that was never asked for, see [Runtime.Table], is not in it:
// the first call to it asks the registry.
func (rt *Runtime) Routes() Routes {
	rt.routes.mu.Lock()
	tables := maps.Clone(rt.routes.tables)
	rt.routes.mu.Unlock()
	out := make(Routes, len(tables))
	for endpoint, t := range tables {
		s := t.Load()
		byTag := make(map[Tag]int)
		if n := s.Baseline().Len(); n > 0 {
			byTag[Untagged] = n
		}
		for _, tag := range s.Tags() {
			byTag[tag] = s.Lane(tag).Len()
		}
		out[endpoint] = byTag
	}
	return out
}
