package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

var id = graylib.Identity{Service: "a", Tag: "gray"}

func record(t *testing.T, line string) map[string]any {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	delete(r, "time")
	return r
}

func TestRecordsSayWhoseTheyAre(t *testing.T) {
	rt, err := graylib.New(id)
	if err != nil {
		t.Fatal(err)
	}
	keys := graylib.HTTPKeys
	request, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, keys, graylib.MapCarrier{
		keys.Tag: "blue", keys.RequestID: "r1", keys.TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	var out bytes.Buffer
	log := New(&out, true, slog.LevelInfo, id)
	log.Debug("below the level")
	log.Info("of none")
	log.With("k", 1).InfoContext(request, "of a request")

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []map[string]any{
		{"level": "INFO", "msg": "of none", "service": "a", "ownTag": "gray"},
		{
			"level": "INFO", "msg": "of a request", "service": "a", "ownTag": "gray", "k": 1.0, "tag": "blue", "requestId": "r1",
			"traceId": "0af7651916cd43dd8448eb211c80319c",
		},
	}
	var got []map[string]any
	for _, l := range lines {
		got = append(got, record(t, l))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	New(&out, false, slog.LevelInfo, graylib.Identity{Service: "c"}).Info("hello")
	if got := out.String(); !strings.HasSuffix(got, `level=INFO msg=hello service=c ownTag=""`+"\n") {
		t.Errorf("%q", got)
	}
}

func TestFrameworks(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, true, slog.LevelInfo, id)
	Frameworks(log)
	hlog.Warnf("from %s\n", "hertz")
	hlog.SystemLogger().Errorf("from its system")
	klog.CtxInfof(graylib.WithTag(t.Context(), "blue"), "from %s", "kitex")
	klog.Debug("below the level")
	if _, err := fmt.Fprintln(lineWriter{log}, "from netpoll"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		r := record(t, line)
		got = append(got, fmt.Sprint(r["level"], " ", r["logger"], " ", r["tag"], " ", r["service"], " ", r["msg"]))
	}
	want := []string{
		"WARN hertz <nil> a from hertz", "ERROR hertz <nil> a HERTZ: from its system", "INFO kitex blue a from kitex",
		"WARN <nil> <nil> a from netpoll",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
