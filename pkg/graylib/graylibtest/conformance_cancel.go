package graylibtest

import (
	"context"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// checkCancellation ends a call's context while its handler works.
func checkCancellation(s *scene) {
	const held = 150 * time.Millisecond // for what must not happen
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctx, _ := s.arrive(base, request{tag: string(laneTag)})
	payload := s.payload()
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var beginOnce, endOnce sync.Once
	s.hook(payload, func(ctx context.Context) {
		beginOnce.Do(func() { close(begun) })
		select {
		case <-ctx.Done():
			endOnce.Do(func() { close(ended) })
		case <-release:
		}
	})
	result := make(chan error, 1)
	go func() {
		_, err := s.link.Call(ctx, payload)
		result <- err
	}()
	within := time.NewTimer(s.Within)
	defer within.Stop()
	select {
	case <-begun:
	case <-within.C:
		s.problem("the handler hasn't begun within %v", s.Within)
		close(release)
		return
	}
	returned := func(limit time.Duration) (bool, error) {
		select {
		case err := <-result:
			result <- err
			return true, err
		case <-time.After(limit):
			return false, nil
		}
	}
	if !s.Features.Answers {
		if ok, err := returned(s.Within); !ok || err != nil {
			s.problem("handing over returned: %t, with %v, while the handler works", ok, err)
		}
	}
	cancel()
	reach := s.Features.Cancels
	if s.Features.Answers {
		limit := s.Within
		if reach == CancelsNothing {
			limit = held
		}
		switch ok, err := returned(limit); {
		case reach == CancelsNothing && ok:
			s.problem("the call returned %v when its context ended; it is declared not to", err)
		case reach != CancelsNothing && !ok:
			s.problem("the call hasn't returned %v after its context ended", limit)
		case reach != CancelsNothing && err == nil:
			s.problem("the call succeeded though its context had ended")
		}
	}
	limit := held
	if reach == CancelsHandler {
		limit = s.Within
	}
	select {
	case <-ended:
		if reach != CancelsHandler {
			s.problem("the handler's context ended with its caller's; it is declared not to")
		}
	case <-time.After(limit):
		if reach == CancelsHandler {
			s.problem("the handler's context hasn't ended %v after its caller's", limit)
		}
	}
	close(release)
	if ok, _ := returned(s.Within); !ok {
		s.problem("the call hasn't returned though its handler has")
	}
	if saw, ok := s.send(context.Background(), s.payload()); ok { // what was cut off is not used again
		s.expect("a call after a cancelled one", saw, graylib.Untagged)
	}
}
