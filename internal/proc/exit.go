package proc

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// Exit tells how a process ended. It is an error whose text has the name, the status and the end of the log.
type Exit struct {
	// Name and PID are the process's own.
	Name string
	PID  int
	// Code is the exit status, or -1 where a signal ended the process or nobody knows.
	Code int
	// Signal is what ended the process, or 0.
	Signal syscall.Signal
	// After is the time from its start to its end.
	After time.Duration
	// Asked says that this program stopped or killed the process itself.
	Asked bool
	// Log is the log file's path, and Tail its last lines.
	Log  string
	Tail []string
	// Cause is set where the process ended for a reason of the supervisor's: ErrGuardGone.
	Cause error
}

// Status says in a few words how the process ended: `exit status 1`, `signal: killed`.
func (e *Exit) Status() string {
	switch {
	case e.Cause != nil:
		return e.Cause.Error()
	case e.Signal != 0:
		return "signal: " + e.Signal.String()
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

// Error names the process, its status and how long it lived, and quotes the end of its log.
func (e *Exit) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (pid %d) ended after %s: %s", e.Name, e.PID, e.After.Round(10*time.Millisecond), e.Status())
	quoteLog(&b, e.Log, e.Tail)
	return b.String()
}

// Unwrap makes errors.Is(err, ErrExited) true for every Exit, and gives the cause where there is one.
func (e *Exit) Unwrap() []error {
	if e.Cause != nil {
		return []error{ErrExited, e.Cause}
	}
	return []error{ErrExited}
}

// quoteLog adds the end of a log to a message.
func quoteLog(b *strings.Builder, path string, lines []string) {
	if len(lines) == 0 {
		fmt.Fprintf(b, "; its log %s is empty", path)
		return
	}
	fmt.Fprintf(b, "; the end of its log %s:", path)
	for _, l := range lines {
		b.WriteString("\n    " + l)
	}
}
