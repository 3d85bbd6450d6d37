package graynacos

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSDKLogger(t *testing.T) {
	log, buf := newLog()
	l := &sdkLogger{last: make(map[string]time.Time), watchers: make(map[*Registry]struct{})}
	l.log.Store(log)
	l.Debugf("accessToken=%s", "secret")
	l.Infof("fine %d", 1)
	for i := range 100 {
		l.Errorf("request %d failed: %v", i, errors.New("away"))
	}
	l.Error("no ", "format")
	l.Errorf("failed to write cache %s", noFolder+"/config")
	got := buf.String()
	if strings.Contains(got, "secret") || strings.Contains(got, "fine") {
		t.Errorf("shown above the debug level:\n%s", got)
	}
	if n := strings.Count(got, "level=WARN"); n != 2 || !strings.Contains(got, "request 0 failed: away") {
		t.Errorf("%d warnings, want one for each kind of error:\n%s", n, got)
	}
}
