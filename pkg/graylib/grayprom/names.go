package grayprom

import "sync"

// other is the label for what isn't told apart. No tag can be called so.
const other = "other"

// maxNames bounds the endpoints, topics and groups that are told apart: one process has to do with tens of them, and each
// costs a series per tag and reason.
const maxNames = 256

// names remembers which names were seen first. It is safe for concurrent use.
type names struct {
	seen sync.Map // string -> struct{}
	mu   sync.Mutex
	n    int
}

// bounded returns name, or other where too many others were there before.
func (s *names) bounded(name string) string {
	if _, ok := s.seen.Load(name); ok {
		return name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.seen.Load(name); ok {
		return name
	}
	if s.n >= maxNames {
		return other
	}
	s.n++
	s.seen.Store(name, struct{}{})
	return name
}
