package graynacos

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
)

// TestClock: a server's time is that of its answer, whatever the answer says.
func TestClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -90 * time.Second} {
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusForbidden)
		}))
		defer ts.Close()
		down := httptest.NewServer(nil)
		down.Close()
		c := &Client{cluster: &cluster{servers: []constant.ServerConfig{serverConfig(t, down), serverConfig(t, ts)}, timeout: 30 * time.Second}}
		began := time.Now()
		got, within, err := c.Clock(t.Context())
		if took := time.Since(began); err != nil || (got-ahead).Abs() > within || within > dateStep+took {
			t.Errorf("%v ahead: %v give or take %v, %v after %v", ahead, got, within, err, took)
		}
	}
}

func TestClockUnknown(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil }))
	defer ts.Close()
	c := &Client{cluster: &cluster{servers: []constant.ServerConfig{serverConfig(t, ts)}, timeout: 30 * time.Second}}
	if _, _, err := c.Clock(t.Context()); err == nil || !strings.HasSuffix(err.Error(), errNoDate.Error()) || !strings.Contains(err.Error(), c.cluster.String()) {
		t.Errorf("error %v, want one that names %s and says that %v", err, c.cluster, errNoDate)
	}
}

// With a real server: on one machine there is one clock.
func TestLiveClock(t *testing.T) {
	client, err := Dial(t.Context(), graylib.Config{NacosAddr: testenv.Nacos(t)}, slog.New(slog.DiscardHandler), WithTimeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if ahead, within, err := client.Clock(t.Context()); err != nil || ahead.Abs() > within {
		t.Errorf("%v ahead, give or take %v: %v", ahead, within, err)
	}
}
