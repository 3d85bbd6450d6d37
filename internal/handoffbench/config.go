package handoffbench

import (
	"errors"
	"fmt"
	"time"
)

// ErrConfig is wrapped where a value of a [Config] can't be used; the text names the value and what it may be.
var ErrConfig = errors.New("invalid")

// Config says what to measure. [Defaults] has a value for all but Namesrv.
type Config struct {
	Namesrv  string        // address of the name server, host:port; brokers must filter by property
	Rounds   int           // each has one clean stop, one crash and two returns
	Rate     int           // messages a second
	Handler  time.Duration // how long each message's handler works
	Queues   int           // of the topic, at each broker
	StandIns int           // processes of the baseline
	Seed     uint64        // of the pauses between two handoffs; 0 = drawn

	// Progress, where not nil, is told of each handoff. It is called by one goroutine at a time.
	Progress func(Handoff)
}

// Defaults are those of the figures: 50 rounds at 1,000 messages a second with handlers of 3 ms.
func Defaults() Config {
	return Config{Rounds: 50, Rate: 1000, Handler: 3 * time.Millisecond, Queues: 4, StandIns: 2}
}

// Bounds of a Config: a bench on one machine, whose records are kept in memory.
const (
	maxRounds   = 1000
	maxRate     = 20_000
	maxHandler  = 10 * time.Second
	maxQueues   = 256
	maxStandIns = 16
)

// Check returns an error that wraps [ErrConfig] for the first value that can't be used.
func (c Config) Check() error {
	for _, v := range []struct {
		name     string
		n, least int
		most     int
	}{
		{"rounds", c.Rounds, 1, maxRounds}, {"rate", c.Rate, 1, maxRate}, {"queues", c.Queues, 1, maxQueues}, {"stand-ins", c.StandIns, 1, maxStandIns},
	} {
		if v.n < v.least || v.n > v.most {
			return fmt.Errorf("%w %s %d: want %d to %d", ErrConfig, v.name, v.n, v.least, v.most)
		}
	}
	if c.Handler < 0 || c.Handler > maxHandler {
		return fmt.Errorf("%w handler %v: want 0s to %v", ErrConfig, c.Handler, maxHandler)
	}
	if c.Namesrv == "" {
		return fmt.Errorf("%w name server %q: want host:port", ErrConfig, c.Namesrv)
	}
	return nil
}
