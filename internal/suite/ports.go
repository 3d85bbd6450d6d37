package suite

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Host is where everything listens: nothing of a suite can be reached from another machine.
const Host = "127.0.0.1"

// Ports are those of one group of instances that move together: the baseline's or a lane's.
type Ports struct {
	Gateway, A, B, C int // HTTP
	BRPC, CRPC       int // Kitex
}

// DefaultPorts are the baseline's (DESIGN.md).
var DefaultPorts = Ports{Gateway: 20000, A: 20001, B: 20002, C: 20003, BRPC: 12080, CRPC: 13080}

// How groups lie beside each other: a lane's ports are the baseline's + 100, the next lane's + 200; a group of which a
// port is taken moves by 10, nine times at most, so that it stays clear of the next lane's.
const (
	laneStep  = 100
	moveStep  = 10
	moveTimes = 9
)

// ErrPortTaken is wrapped where no free group of ports is found; the text names the ports and what they are for.
var ErrPortTaken = errors.New("port taken")

// Of returns a service's HTTP and RPC ports; rpc is 0 where it serves none.
func (p Ports) Of(service string) (http, rpc int) {
	switch service {
	case "gateway":
		return p.Gateway, 0
	case "a":
		return p.A, 0
	case "b":
		return p.B, p.BRPC
	case "c":
		return p.C, p.CRPC
	}
	return 0, 0
}

// shifted moves all ports by n.
func (p Ports) shifted(n int) Ports {
	return Ports{p.Gateway + n, p.A + n, p.B + n, p.C + n, p.BRPC + n, p.CRPC + n}
}

// use is one port and what it is for.
type use struct {
	port int
	what string
}

func (p Ports) uses(services []string) []use {
	var list []use
	for _, s := range services {
		http, rpc := p.Of(s)
		list = append(list, use{http, s + " (HTTP)"})
		if rpc != 0 {
			list = append(list, use{rpc, s + " (RPC)"})
		}
	}
	return list
}

// Valid tells whether all ports are ports, and no two are the same.
func (p Ports) Valid() error {
	seen := map[int]string{}
	for _, u := range p.uses(Services) {
		if u.port < 1 || u.port > 65535 {
			return fmt.Errorf("port %d of %s: want 1 to 65535", u.port, u.what)
		}
		if other, twice := seen[u.port]; twice {
			return fmt.Errorf("port %d is given to both %s and %s", u.port, other, u.what)
		}
		seen[u.port] = u.what
	}
	return nil
}

// place finds ports for a group of services: the base's, shifted by the slot, and moved on together where one is taken.
// fixed forbids the moving. taken asks whether a port is in use.
func place(base Ports, slot int, services []string, fixed bool, taken func(int) bool) (Ports, error) {
	var first []string
	for i := range moveTimes + 1 {
		p := base.shifted(slot*laneStep + i*moveStep)
		if i > 0 && p.Valid() != nil {
			break
		}
		var busy []string
		for _, u := range p.uses(services) {
			if taken(u.port) {
				busy = append(busy, fmt.Sprintf("%d of %s", u.port, u.what))
			}
		}
		if len(busy) == 0 {
			return p, nil
		}
		if first == nil {
			first = busy
		}
		if fixed {
			return Ports{}, fmt.Errorf("%w: %s: want a free one", ErrPortTaken, strings.Join(first, ", "))
		}
	}
	return Ports{}, fmt.Errorf("%w: %s; the %d groups of ports behind it, each %d further, are taken too",
		ErrPortTaken, strings.Join(first, ", "), moveTimes, moveStep)
}

// portTaken tells whether nothing can listen on a port of loopback.
func portTaken(port int) bool {
	ln, err := net.Listen("tcp", addr(port))
	if err != nil {
		return true
	}
	_ = ln.Close()
	return false
}

func addr(port int) string { return net.JoinHostPort(Host, strconv.Itoa(port)) }

// freeSlot returns the lowest slot that is not in use.
func freeSlot(used []int) int {
	for slot := 0; ; slot++ {
		if !slices.Contains(used, slot) {
			return slot
		}
	}
}
