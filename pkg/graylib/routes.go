package graylib

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Routes says which instances a process can reach now: for each endpoint that it has called (named as in the registry),
// their number by own tag. The baseline's key is the empty tag.
type Routes map[string]map[Tag]int

// routes remembers the tables that a runtime handed out; an endpoint's newest one counts. Readers don't lock: a table is
// asked for once per request.
type routes struct {
	mu     sync.Mutex // of writers
	tables atomic.Pointer[map[string]*Table]
}

func (r *routes) load() map[string]*Table {
	if m := r.tables.Load(); m != nil {
		return *m
	}
	return nil
}

// note remembers a table, and tells whether it is a new one.
func (r *routes) note(t *Table) bool {
	if r.load()[t.Service()] == t {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.load()
	if old[t.Service()] == t {
		return false
	}
	tables := make(map[string]*Table, len(old)+1)
	maps.Copy(tables, old)
	tables[t.Service()] = t
	r.tables.Store(&tables)
	return true
}

// Routes returns what this process can reach now. An endpoint that was never asked for, see [Runtime.Table], is not in it:
// the first call to it asks the registry.
func (rt *Runtime) Routes() Routes {
	tables := rt.routes.load()
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

// Ejected returns the instances that this process leaves out now, by endpoint, in the order of their addresses.
func (rt *Runtime) Ejected() map[string][]Ejected {
	var out map[string][]Ejected
	for endpoint, t := range rt.routes.load() {
		list := t.Ejected()
		if len(list) == 0 {
			continue
		}
		slices.SortFunc(list, func(a, b Ejected) int { return strings.Compare(a.Addr, b.Addr) })
		if out == nil {
			out = make(map[string][]Ejected)
		}
		out[endpoint] = list
	}
	return out
}

// Ejections returns how often this process ejected an instance since its start.
func (rt *Runtime) Ejections() int64 {
	var n int64
	for _, t := range rt.routes.load() {
		n += t.Ejections()
	}
	return n
}
