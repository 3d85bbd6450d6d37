package grayrocketmq

import (
	"context"
	"errors"
	"testing"
	"time"
)

// slowLeaver is a membership with a handler that runs beyond the drain.
type slowLeaver struct {
	joined
	leaving, release chan struct{}
}

func (*slowLeaver) group() string { return "g" }
func (*slowLeaver) close()        {}
func (m *slowLeaver) leave(context.Context) int {
	close(m.leaving)
	<-m.release
	return 1
}

// TestSecondShutdownWaits: whoever calls Shutdown again, as `defer c.Shutdown()` does after a signal's, waits for the first one too:
// to return earlier would end the process in the middle of handlers.
func TestSecondShutdownWaits(t *testing.T) {
	c := newSim(t).consumer(t, "", listed("auto"))
	m := &slowLeaver{leaving: make(chan struct{}), release: make(chan struct{})}
	c.joined = []joined{m}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- c.Shutdown() }()
	<-m.leaving
	go func() { second <- c.Shutdown() }()
	select {
	case err := <-second:
		t.Errorf("the second Shutdown returned %v while the first was under way", err)
		second <- err
	case <-time.After(50 * time.Millisecond): // longer makes it stricter, never wrong
	}
	close(m.release)
	for _, ended := range []chan error{first, second} {
		if err := <-ended; !errors.Is(err, ErrDrain) {
			t.Errorf("Shutdown() = %v, want ErrDrain from both", err)
		}
	}
}
