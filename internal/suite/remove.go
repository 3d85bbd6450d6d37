package suite

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoInstance is wrapped where an instance is named that the suite doesn't have.
var ErrNoInstance = errors.New("no such instance")

// Remove stops single instances by their names, all at once and each in its own order, forgets them, and returns when their
// callers have dropped them.
func (s *Suite) Remove(ctx context.Context, names ...string) error {
	s.change.Lock()
	defer s.change.Unlock()
	var gone []*Instance
	for _, name := range names {
		i := s.Instance(name)
		if i == nil {
			return fmt.Errorf("%w: %q", ErrNoInstance, name)
		}
		gone = append(gone, i)
	}
	err := s.remove(ctx, gone)
	s.save()
	return errors.Join(err, s.WaitRouted(ctx))
}
