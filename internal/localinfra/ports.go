package localinfra

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/graychain/graychain/internal/proc"
)

// ErrPortTaken means that a port which may not move is in use, or that none of the places tried was free.
var ErrPortTaken = errors.New("port is taken")

const (
	// portStep is how far a group of ports moves, portTries how often.
	portStep  = 10
	portTries = 50

	loopback = "127.0.0.1"
)

// ListenPort is a port that a server listens on.
type ListenPort struct {
	Server  string
	Number  int
	Purpose string
	// Everywhere says that the port is open on every interface, because the server has no setting for it.
	Everywhere bool
}

// portUse is a port of a group, relative to the group's main port.
type portUse struct {
	offset     int
	purpose    string
	everywhere bool
}

// portGroups are the servers' groups of ports, the main port first.
var portGroups = map[string][]portUse{
	Nacos: {
		{0, "HTTP", false}, {1000, "gRPC of clients", false}, {1001, "gRPC of servers", false}, {-1000, "Raft", true},
	},
	Namesrv: {{0, "name server", false}},
	Broker:  {{0, "broker", false}, {-2, "broker's VIP channel", false}, {1, "broker's replicas", true}},
}

// portFinder chooses groups of ports. The zero value is ready for use.
type portFinder struct {
	chosen map[int]bool
	locks  []*proc.FileLock
}

// choose finds a free place for a server's ports and reserves it among the programs that choose by this function, until
// release.
func (f *portFinder) choose(server string, want Port) (int, []ListenPort, error) {
	var first error
	for try := range portTries {
		main := want.Number + try*portStep
		ports, locks, err := f.tryGroup(server, main)
		if err == nil {
			if f.chosen == nil {
				f.chosen = map[int]bool{}
			}
			for _, p := range ports {
				f.chosen[p.Number] = true
			}
			f.locks = append(f.locks, locks...)
			return main, ports, nil
		}
		if !errors.Is(err, ErrPortTaken) {
			return 0, nil, err
		}
		if first == nil {
			first = err
		}
		if want.Fixed {
			return 0, nil, first
		}
	}
	return 0, nil, fmt.Errorf("%w (and so on for %d places after it)", first, portTries-1)
}

// tryGroup looks whether a group's ports are free at one place. What it reserved of a place that is not free it gives up.
func (f *portFinder) tryGroup(server string, main int) (ports []ListenPort, locks []*proc.FileLock, err error) {
	defer func() {
		if err != nil {
			unlockAll(locks)
		}
	}()
	for _, u := range portGroups[server] {
		p := ListenPort{Server: server, Number: main + u.offset, Purpose: u.purpose, Everywhere: u.everywhere}
		lock, err := f.tryPort(p)
		if err != nil {
			return nil, locks, fmt.Errorf("%w: %d, wanted for %s (%s): %w", ErrPortTaken, p.Number, server, p.Purpose, err)
		}
		ports = append(ports, p)
		if lock != nil {
			locks = append(locks, lock)
		}
	}
	return ports, locks, nil
}

// tryPort looks whether a port is free, and reserves it.
func (f *portFinder) tryPort(p ListenPort) (*proc.FileLock, error) {
	if p.Number < 1 || p.Number > 65535 {
		return nil, errors.New("there is no such port")
	}
	if f.chosen[p.Number] {
		return nil, errors.New("another server started here has it")
	}
	// Between this look and the server's own listening lie seconds: another graychain must not choose the same meanwhile.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("graychain-ports-%d", os.Getuid()))
	lock, err := proc.TryLock(filepath.Join(dir, strconv.Itoa(p.Number)), fmt.Sprintf("graychain, pid %d", os.Getpid()))
	if errors.Is(err, proc.ErrLocked) {
		return nil, err
	}
	// Any other trouble with the reservation only means that there is none: lock is nil then.
	host := loopback
	if p.Everywhere {
		host = ""
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p.Number)))
	if err != nil {
		if lock != nil {
			_ = lock.Unlock()
		}
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, err
	}
	return lock, l.Close()
}

// release gives the reservations up.
func (f *portFinder) release() {
	unlockAll(f.locks)
	f.locks, f.chosen = nil, nil
}

func unlockAll(locks []*proc.FileLock) {
	for _, l := range locks {
		_ = l.Unlock()
	}
}
