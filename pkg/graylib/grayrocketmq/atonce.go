package grayrocketmq

import (
	"errors"
	"sync"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// mostAtOnce bounds the requests of one start that are under way at once: what a lane's return asks in practice, and little for
// a broker, which works through them with some tens of threads.
const mostAtOnce = 64

// atOnce calls ask for 0 to n-1, mostAtOnce at a time, and returns the errors in that order when all calls have ended. Once a
// server could not be reached nothing further is asked, which would wait as long again: the rest gets that error.
func atOnce(n int, ask func(i int) error) []error {
	errs := make([]error, n)
	var mu sync.Mutex
	var gone error
	var wg sync.WaitGroup
	slots := make(chan struct{}, mostAtOnce)
	for i := range n {
		slots <- struct{}{}
		mu.Lock()
		errs[i] = gone
		mu.Unlock()
		if errs[i] != nil {
			<-slots
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if errs[i] = ask(i); errors.Is(errs[i], remoting.ErrUnreachable) {
				mu.Lock()
				defer mu.Unlock()
				gone = errs[i]
			}
		})
	}
	wg.Wait()
	return errs
}

// firstError returns the first error of a list that isn't nil.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
