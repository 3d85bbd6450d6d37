package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/otlptest"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
)

// gray is the lane of most tests.
const gray graylib.Tag = "gray"

// patience is how long a loop may take on a busy machine of two cores. It is a deadline, not an expectation.
const patience = 30 * time.Second

// shared is the suite that all tests use which don't hurt a server: one baseline, lanes that come and go.
var shared struct {
	once  sync.Once
	suite *suite.Suite
	spans *otlptest.Collector // its services export their traces to it
	dir   string
	err   error
}

func TestMain(m *testing.M) {
	proc.GuardMain() // the test binary guards the suite's processes too
	code := m.Run()
	if s := shared.suite; s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		if err := s.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: the shared suite did not stop cleanly:", err)
			code = max(code, 1)
		}
		cancel()
	}
	switch {
	case shared.dir == "":
	case code == 0:
		_ = os.RemoveAll(shared.dir)
	default:
		fmt.Fprintln(os.Stderr, "e2e: logs and state are kept in", shared.dir)
	}
	os.Exit(code)
}

// chain returns the shared suite with its baseline alone.
func chain(t *testing.T) *suite.Suite {
	t.Helper()
	nacos, namesrv := testenv.Nacos(t), testenv.Namesrv(t)
	shared.once.Do(func() {
		shared.dir, shared.err = os.MkdirTemp("", "graychain-e2e-") //nolint:usetesting // it outlives the test
		if shared.err != nil {
			return
		}
		shared.spans = otlptest.Start() // ends with the process
		env := trustEnv()
		env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_BSP_SCHEDULE_DELAY"] = shared.spans.URL, "200"
		s, err := suite.Start(t.Context(), suite.Options{
			State: shared.dir, NacosAddr: nacos, NamesrvAddr: namesrv,
			Ports: suite.Ports{Gateway: 21000, A: 21001, B: 21002, C: 21003, BRPC: 21082, CRPC: 21083},
			Topic: fmt.Sprintf("TEST_MQ_%d", os.Getpid()),
			Env:   env,
		})
		if err == nil {
			err = s.Add(t.Context(), suite.Baseline)
		}
		shared.suite, shared.err = s, err
	})
	if shared.err != nil {
		t.Fatalf("the shared suite: %v", shared.err)
	}
	return shared.suite
}

// withLane gives the suite a lane with the services for one test, and the rules that `graychain up` would publish.
func withLane(t *testing.T, s *suite.Suite, tag graylib.Tag, services ...string) suite.Demo {
	t.Helper()
	demo, err := s.PublishDemo(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	if len(services) == 0 {
		return demo
	}
	if err := s.AddLane(t.Context(), tag, services...); err != nil {
		t.Fatalf("lane %s with %v: %v", tag, services, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.RemoveLane(ctx, tag); err != nil {
			t.Errorf("lane %s did not go: %v", tag, err)
		}
	})
	return demo
}

// request parses a path with its query.
func request(t *testing.T, target string) suite.Request {
	t.Helper()
	r, err := suite.ParseRequest(target)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// closes sends the request, and fails the test unless its loop closes with the tag.
func closes(t *testing.T, s *suite.Suite, r suite.Request, tag graylib.Tag) (suite.Answer, suite.Judged) {
	t.Helper()
	a, err := s.Send(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", r, err)
	}
	if a.Status != 200 {
		t.Fatalf("%s: status %d: %s", r, a.Status, a.Error)
	}
	j, err := s.Judge(t.Context(), r, a.RequestID, patience)
	if err != nil {
		t.Fatalf("%s: %v", r, err)
	}
	if j.Tag != tag {
		t.Errorf("%s: the rules give it tag %s, want %s", r, j.Tag, tag)
	}
	if !j.Verdict.Closed {
		t.Errorf("%s: %s\nanswer: %s", r, j.Verdict, a.Text)
	}
	return a, j
}

// text renders hops as DESIGN.md says, independently of the services' own code.
func text(hops []graylib.Hop) string {
	var parts []string
	for _, h := range hops {
		if h.Service != "gateway" {
			parts = append(parts, strings.ToUpper(h.Service)+string(h.Tag)+"["+h.Addr+"]")
		}
	}
	return strings.Join(parts, " -> ")
}
