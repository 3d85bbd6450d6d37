package answer

import (
	"context"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// Sent collects what is known of the messages that were sent in a context. Its zero value is ready to use.
type Sent struct {
	mu   sync.Mutex
	tags map[string]graylib.Tag
}

// Watch returns a context whose messages are collected.
func (s *Sent) Watch(ctx context.Context) context.Context {
	return graylib.WatchMessages(ctx, func(m graylib.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tags == nil {
			s.tags = make(map[string]graylib.Tag)
		}
		s.tags[m.ID] = m.Tag
	})
}

// Tag returns the tag that the message with the id was marked with; empty = untagged.
func (s *Sent) Tag(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.tags[id])
}
