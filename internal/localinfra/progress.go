package localinfra

import (
	"sync"
	"time"
)

// The servers' names, in events, phases and ports.
const (
	Nacos   = "nacos"
	Namesrv = "namesrv"
	Broker  = "broker"
	// RocketMQ stands for name server and broker together, which share their jars.
	RocketMQ = "rocketmq"
)

// Event is one step of Start's progress.
type Event struct {
	// Server is the server's name.
	Server string
	// Step says what is being done: wait, fetch, compile, archive, start.
	Step string
	// Detail says more in a few words, or is empty.
	Detail string
	// Done says that the step is through, after Took.
	Done bool
	Took time.Duration
	// Problem is set where a step that Start can do without has failed.
	Problem error
}

// Phase is a part of Start and the time that it took. Phases of different servers overlap.
type Phase struct {
	Server, Name string
	Took         time.Duration
}

// recorder hands events on and keeps the phases.
type recorder struct {
	mu     sync.Mutex
	tell   func(Event)
	phases []Phase
}

func (r *recorder) event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Done {
		r.phases = append(r.phases, Phase{Server: e.Server, Name: e.Step, Took: e.Took})
	}
	if r.tell != nil {
		r.tell(e)
	}
}

// step announces a step; what it returns is to be called when the step is through, with a detail.
func (r *recorder) step(server, name, detail string) (done func(detail string)) {
	begin := time.Now()
	r.event(Event{Server: server, Step: name, Detail: detail})
	return func(detail string) {
		r.event(Event{Server: server, Step: name, Detail: detail, Done: true, Took: time.Since(begin)})
	}
}

func (r *recorder) taken() []Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Phase(nil), r.phases...)
}
