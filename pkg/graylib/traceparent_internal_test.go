package graylib

import (
	"regexp"
	"strings"
	"testing"
)

// wellFormedTrace is https://www.w3.org/TR/trace-context/#traceparent-header-field-values, written otherwise than the code is.
var wellFormedTrace = regexp.MustCompile(`^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]*)?)$`)

// FuzzTraceParent: what is taken is well formed by the specification and fits every carrier, and nothing else is.
func FuzzTraceParent(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		ok := wellFormedTrace.MatchString(s) && len(s) <= maxTraceParent && s[:2] != "ff" && !(s[:2] == "00" && len(s) > 55) &&
			s[3:35] != strings.Repeat("0", 32) && s[36:52] != strings.Repeat("0", 16)
		want := ""
		if ok {
			want = s[3:35]
		}
		if got := traceID(s); got != want {
			t.Fatalf("%q: trace id %q, want %q", s, got, want)
		}
	})
}
