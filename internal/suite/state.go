package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

// Info is what a suite says of itself: in the state file, and to who asks its control API.
type Info struct {
	PID       int            `json:"pid"`
	Started   time.Time      `json:"started"`
	Ready     bool           `json:"ready"`  // the start is complete
	Closed    bool           `json:"closed"` // both loops of the start were closed
	State     string         `json:"state"`
	Gateway   string         `json:"gateway,omitempty"` // URL
	Observer  string         `json:"observer"`          // URL, of the control API too
	Nacos     string         `json:"nacos,omitempty"`   // host:port
	Namesrv   string         `json:"namesrv,omitempty"`
	Servers   []Endpoint     `json:"servers,omitempty"`
	Instances []InstanceInfo `json:"instances,omitempty"`
	Timings   []Timing       `json:"timings,omitempty"`
}

// InstanceInfo is one service process.
type InstanceInfo struct {
	Name    string      `json:"name"`
	Service string      `json:"service"`
	Tag     graylib.Tag `json:"tag"`
	HTTP    string      `json:"http"`
	RPC     string      `json:"rpc,omitempty"`
	PID     int         `json:"pid,omitempty"`
	Live    bool        `json:"live"`
	Log     string      `json:"log"`
}

const (
	stateFile = "suite.json"
	lockFile  = "suite.lock"
)

// Info returns what the suite is now.
func (s *Suite) Info() Info {
	info := Info{
		PID: os.Getpid(), Started: s.started, State: s.options.State, Gateway: s.GatewayURL(), Observer: s.ObserverURL(),
	}
	s.mu.Lock()
	info.Nacos, info.Namesrv = s.options.NacosAddr, s.options.NamesrvAddr
	if s.servers != nil {
		info.Servers = s.servers.Endpoints()
	}
	info.Ready, info.Closed = s.ready, s.closed
	s.mu.Unlock()
	info.Timings = s.Timings()
	for _, i := range s.Instances() {
		in := InstanceInfo{Name: i.Name, Service: i.Service, Tag: i.Tag, HTTP: i.HTTP, RPC: i.RPC, Log: i.Log, Live: i.Live()}
		if p := i.proc(); p != nil {
			in.PID = p.PID()
		}
		info.Instances = append(info.Instances, in)
	}
	return info
}

// SetReady says that the start is complete, and whether the loops that it showed were closed.
func (s *Suite) SetReady(closed bool) {
	s.mu.Lock()
	s.ready, s.closed = true, closed
	s.mu.Unlock()
	s.save()
}

// save writes the state file; a failure shows in `status` alone, which then asks the suite in vain.
func (s *Suite) save() {
	s.mu.Lock()
	closed := s.control == nil
	s.mu.Unlock()
	if closed {
		return
	}
	b, err := json.MarshalIndent(s.Info(), "", "  ")
	if err != nil {
		return
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	tmp := filepath.Join(s.options.State, stateFile+".tmp")
	if os.WriteFile(tmp, append(b, '\n'), 0o644) == nil {
		_ = os.Rename(tmp, filepath.Join(s.options.State, stateFile))
	}
}

func removeState(state string) error {
	err := os.Remove(filepath.Join(state, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// takeLock makes the state folder this suite's own.
func takeLock(state string) (*proc.FileLock, error) {
	lock, err := proc.TryLock(filepath.Join(state, lockFile), "pid "+strconv.Itoa(os.Getpid()))
	if errors.Is(err, proc.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrRuns, whoRuns(state))
	}
	return lock, err
}

// whoRuns describes the suite that holds a state folder.
func whoRuns(state string) string {
	info, err := ReadInfo(state)
	if err != nil {
		holder, _ := os.ReadFile(filepath.Join(state, lockFile))
		return fmt.Sprintf("%s is starting or stopping (state folder %s)", strings.TrimSpace(string(holder)), state)
	}
	at := "it is still starting"
	if info.Gateway != "" {
		at = "gateway " + info.Gateway
	}
	return fmt.Sprintf("pid %d since %s, %s, state folder %s; `graychain status` shows it, `graychain down` ends it",
		info.PID, info.Started.Local().Format("15:04:05"), at, state)
}

// ReadInfo reads the state file in a state folder: what the suite last wrote, which may have ended since. See [Find].
func ReadInfo(state string) (Info, error) {
	var info Info
	b, err := os.ReadFile(filepath.Join(state, stateFile))
	if err == nil {
		err = json.Unmarshal(b, &info)
	}
	return info, err
}

// Errors of [Find].
var (
	// ErrNotRunning is wrapped where no suite runs.
	ErrNotRunning = errors.New("no suite runs")
	// ErrUnknown is wrapped where a process holds the state folder that doesn't say what it is, as it begins or ends.
	ErrUnknown = errors.New("a suite is starting or stopping")
)

// Find returns the suite that runs with a state folder, of this or of another process. Where none does the error wraps
// [ErrNotRunning], or [ErrUnknown].
func Find(state string) (Info, error) {
	state, err := filepath.Abs(state)
	if err != nil {
		return Info{}, err
	}
	if _, err := os.Stat(filepath.Join(state, lockFile)); err != nil {
		return Info{}, fmt.Errorf("%w with the state folder %s: start one with `graychain up --infra=local`", ErrNotRunning, state)
	}
	lock, err := proc.TryLock(filepath.Join(state, lockFile), "looking")
	if err == nil {
		return Info{}, errors.Join(fmt.Errorf("%w with the state folder %s: start one with `graychain up --infra=local`", ErrNotRunning, state), lock.Unlock())
	}
	if !errors.Is(err, proc.ErrLocked) {
		return Info{}, err
	}
	info, err := ReadInfo(state)
	if err != nil {
		holder, _ := os.ReadFile(filepath.Join(state, lockFile))
		return Info{}, fmt.Errorf("%w: %s, state folder %s", ErrUnknown, strings.TrimSpace(string(holder)), state)
	}
	return info, nil
}

func portOf(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}
