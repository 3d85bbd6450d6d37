package proc

import "time"

// The supervisor and its guard exchange JSON values, one per line, over two pipes. The end of the command pipe is the
// guard's order to end everything.

const (
	opStart  = "start"
	opSignal = "signal"
	opStop   = "stop"

	evHello   = "hello"
	evStarted = "started"
	evFailed  = "failed"
	evExited  = "exited"
)

// command is what the supervisor asks of the guard.
type command struct {
	Op     string        `json:"op"`
	ID     int           `json:"id"`
	Start  *launch       `json:"start,omitempty"`
	Signal int           `json:"signal,omitempty"`
	Grace  time.Duration `json:"grace,omitempty"`
}

// launch is all that the guard needs to start a process.
type launch struct {
	Path   string   `json:"path"`
	Args   []string `json:"args"`
	Env    []string `json:"env"`
	Dir    string   `json:"dir"`
	Log    string   `json:"log"`
	Append bool     `json:"append"`
}

// event is what the guard reports.
type event struct {
	Ev     string `json:"ev"`
	ID     int    `json:"id"`
	PID    int    `json:"pid,omitempty"`
	Error  string `json:"error,omitempty"`
	Code   int    `json:"code"`
	Signal int    `json:"signal,omitempty"`
}
