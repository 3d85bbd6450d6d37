package lanescmd

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Times of waiting for a lane's end.
const (
	pollEvery  = time.Second
	emptyLooks = 2 // in a row, until nothing counts as left: a message that fails again moves while the brokers are read
)

// looked is what one look at what is left of a lane came to.
type looked struct {
	left int64  // how many are left, -1 where a number doesn't say it
	of   string // what is counted
	text string // what is left, for people; shown
	done bool   // nothing is
}

// stop is an error of a look that ends the waiting at once.
type stop struct{ error }

func (s stop) Unwrap() error { return s.error }

// until looks, shows what is left, and looks again until nothing is left for [emptyLooks] looks in a row; e.wait at most. A look
// that fails is said and made again, but for a [stop]. Its error says why the waiting ended: kept says what an interrupt leaves,
// and late what the time's end does; that is given the last look and why the one after it failed, if it did.
func (e *ending) until(look func(ctx context.Context, live bool) (looked, error), kept string, late func(last looked, failed error) error) error {
	ctx, cancel := context.WithTimeout(e.cmd.Context(), e.wait)
	defer cancel()
	bar := newBar(e.cmd.OutOrStdout())
	defer bar.close()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	var (
		last   looked
		failed error // of the last look that could be made
		empty  int
	)
	for {
		l, err := look(ctx, bar.live)
		var end stop
		switch {
		case errors.As(err, &end):
			return end.error
		case err == nil:
			last, failed = l, nil
			if empty++; !l.done {
				empty = 0
			}
			if l.text != "" {
				bar.show(l.left, l.of, l.text)
			}
			if empty >= emptyLooks {
				return nil
			}
		case ctx.Err() == nil:
			empty, failed = 0, err
			bar.pause()
			e.say("what is left can't be known now, trying again: " + oneLine(err))
		}
		select {
		case <-again.C:
			continue
		case <-ctx.Done():
		}
		if e.cmd.Context().Err() != nil {
			return fmt.Errorf("interrupted: %s", kept)
		}
		if last == (looked{}) && failed == nil {
			failed = err // there wasn't time for a single look
		}
		return late(last, failed)
	}
}
