package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graychain/graychain/internal/suite"
)

// races fails the test where a log holds a report of the race detector that is ours ([raceReports]). What a client does among its own goroutines is counted and said: nacos-sdk-go v2.3.5 races with itself at each reconnect
// (RpcClient.notifyConnectionEvent reads what reconnect writes), and no caller can prevent it.
func races(t *testing.T, s *suite.Suite) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.Logs(), "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs in %s: %v, %v", s.Logs(), logs, err)
	}
	for _, name := range logs {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		ours, others := raceReports(string(content))
		if len(ours) > 0 {
			t.Errorf("%s reports %d races, the first:\n%s", filepath.Base(name), len(ours), ours[0])
		}
		if len(others) > 0 {
			t.Logf("%s reports %d races within the clients' own code, the first:\n%s", filepath.Base(name), len(others), others[0])
		}
	}
}

var (
	raceReport = regexp.MustCompile(`(?ms)^WARNING: DATA RACE$.*?(?:^={10,}$|\z)`)
	// One of a report's two accesses, with its stack. Where the goroutines were created follows; that is not what races.
	raceAccess = regexp.MustCompile(`(?ms)^(?:Previous )?(?:[Aa]tomic )?(?:[Rr]ead|[Ww]rite) (?:at|by) .*?(?:^\s*$|\z)`)
	raceFrame  = regexp.MustCompile(`(?m)^\s+(\S+)\(.*\)$`)
)

const module = "github.com/graychain/graychain/"

// raceReports tells a log's reports of the race detector apart. Others' are those in which a client's functions touch the
// memory in both accesses, and one access is by a goroutine of the client's own: what races is inside the client, and its
// methods are for any goroutine. All else is ours, a report that can't be understood too: two calls of ours that race within a client
// may be calls that must not be made at once.
func raceReports(log string) (ours, others []string) {
	for _, report := range raceReport.FindAllString(log, -1) {
		accesses := raceAccess.FindAllString(report, -1)
		clients := 0
		for _, access := range accesses {
			if f := raceFrame.FindAllStringSubmatch(access, -1); len(f) > 0 && !strings.HasPrefix(toucher(f), module) {
				clients++
			}
		}
		own := len(accesses) == 2 && (!strings.Contains(accesses[0], module) || !strings.Contains(accesses[1], module))
		if own && clients == 2 {
			others = append(others, report)
		} else {
			ours = append(ours, report)
		}
	}
	return ours, others
}

// toucher is the function that made an access: the innermost one outside of the standard library, whose paths have no dot in
// their first part.
func toucher(frames [][]string) string {
	for _, f := range frames {
		if first, _, ok := strings.Cut(f[1], "/"); ok && strings.Contains(first, ".") {
			return f[1]
		}
	}
	return module // none known
}

func TestRaceReportsAreToldApart(t *testing.T) {
	const (
		created = "Goroutine 1 (running) created at:\n  github.com/graychain/graychain/pkg/graylib/graynacos.newRules()\n      rules.go:72 +0x46\n==================\n"
		client  = " at 0x00c0 by goroutine 1:\n  github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc.(*RpcClient).reconnect()\n      rpc_client.go:449 +0xd26\n\n"
		own     = " at 0x00c0 by main goroutine:\n  sync/atomic.LoadInt64()\n      asm.s:1 +0x1\n  github.com/graychain/graychain/pkg/graylib.(*Runtime).Rules()\n      runtime.go:1 +0x1\n\n"
		called  = " at 0x00c0 by goroutine 2:\n  sync/atomic.CompareAndSwapInt32()\n      race_amd64.s:361 +0xb\n  github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc.(*RpcClient).Request()\n      rpc_client.go:592 +0x117\n  github.com/graychain/graychain/pkg/graylib/graynacos.(*Rules).run()\n      rules.go:201 +0x862\n\n"
		head    = "==================\nWARNING: DATA RACE\n"
	)
	for _, c := range []struct {
		name, log    string
		ours, others int
	}{
		{"no report", `{"msg":"no DATA RACE"}` + "\n", 0, 0},
		{"a client with itself", head + "Read" + client + "Previous write" + client + created, 0, 1},
		{"ours with a client", head + "Read" + client + "Previous write" + own + created, 1, 0},
		{"ours with itself", head + "Atomic write" + own + "Previous atomic read" + own + created, 1, 0},
		{"a client's goroutine with a call of ours", head + "Read" + client + "Previous write" + called + created, 0, 1},
		{"two calls of ours", head + "Read" + called + "Previous write" + called + created, 1, 0},
		{"cut off", head + "Read" + client, 1, 0},
		{"two", head + "Read" + own + "Previous write" + own + created + "a line\n" + head + "Write" + client + "Previous read" + client + created, 1, 1},
	} {
		if ours, others := raceReports(c.log); len(ours) != c.ours || len(others) != c.others {
			t.Errorf("%s: %d ours and %d others, want %d and %d", c.name, len(ours), len(others), c.ours, c.others)
		}
	}
}
