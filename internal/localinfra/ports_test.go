package localinfra

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// occupy listens on a port of the loopback interface until the test ends.
func occupy(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the test needs port %d: %v", port, err)
	}
	t.Cleanup(func() { l.Close() })
}

// quiet finds a number near `from` around which the given ports are free, on every interface.
func quiet(t *testing.T, from int, offsets ...int) int {
	t.Helper()
	free := func(port int) bool {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return false
		}
		l.Close()
		return true
	}
	for base := from; base < from+100; base++ {
		if !slices.ContainsFunc(offsets, func(o int) bool { return !free(base + o) }) {
			return base
		}
	}
	t.Fatalf("no quiet place for ports above %d", from)
	return 0
}

// inGroup adds to each number the offsets of a server's ports.
func inGroup(server string, numbers ...int) []int {
	var out []int
	for _, n := range numbers {
		for _, u := range portGroups[server] {
			out = append(out, n+u.offset)
		}
	}
	return out
}

func numbers(ports []ListenPort) []int {
	var out []int
	for _, p := range ports {
		out = append(out, p.Number)
	}
	return out
}

func TestPortGroupsMoveTogether(t *testing.T) {
	for _, c := range []struct {
		name, server string
		taken        []int // relative to the port wanted
		moved        int
	}{
		{"free", Nacos, nil, 0},
		{"main port", Nacos, []int{0}, 10},
		{"gRPC", Nacos, []int{1000}, 10},
		{"gRPC of servers", Nacos, []int{1001}, 10},
		{"Raft", Nacos, []int{-1000}, 10},
		{"twice", Broker, []int{-2, 11}, 20},
		{"name server", Namesrv, []int{0}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := quiet(t, 30600, inGroup(c.server, 0, 10, 20)...)
			for _, p := range c.taken {
				occupy(t, want+p)
			}
			var f portFinder
			defer f.release()
			main, ports, err := f.choose(c.server, Port{Number: want})
			if err != nil {
				t.Fatal(err)
			}
			if main != want+c.moved {
				t.Errorf("wanted %d, got %d; it should have moved by %d", want, main, c.moved)
			}
			if diff := cmp.Diff(inGroup(c.server, main), numbers(ports)); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFixedPortFails(t *testing.T) {
	want := quiet(t, 30800, inGroup(Broker, 0)...)
	occupy(t, want+1)
	var f portFinder
	defer f.release()
	_, _, err := f.choose(Broker, Port{Number: want, Fixed: true})
	says := fmt.Sprintf("%d, wanted for broker (broker's replicas): ", want+1)
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("choose = %v, want ErrPortTaken in one line with %q", err, says)
	}
	var other portFinder
	defer other.release()
	if _, _, err := other.choose(Namesrv, Port{Number: want, Fixed: true}); err != nil {
		t.Errorf("the refused group still holds its first port: %v", err)
	}
}

func TestReservationsAreKept(t *testing.T) {
	want := quiet(t, 30800, -1, -3, 0, 9, 7, 10, 17, 19, 20)
	var a, b portFinder
	defer a.release()
	defer b.release()
	choose := func(f *portFinder, server string, from, want int, why string) {
		t.Helper()
		got, _, err := f.choose(server, Port{Number: from})
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", why, got, err, want)
		}
	}
	choose(&a, Namesrv, want, want, "free")
	choose(&b, Namesrv, want, want+10, "nobody listens yet, but the first is promised")
	choose(&a, Broker, want-1, want+19, "the replica port would be the name server's of this program, then of the other")
	a.release()
	choose(&b, Namesrv, want, want, "given back")
}

func TestNoPlaceAtTheEndOfPorts(t *testing.T) {
	occupy(t, 65530)
	var f portFinder
	defer f.release()
	_, _, err := f.choose(Namesrv, Port{Number: 65530})
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), "65530") {
		t.Errorf("choose = %v, want ErrPortTaken that names the first", err)
	}
}
