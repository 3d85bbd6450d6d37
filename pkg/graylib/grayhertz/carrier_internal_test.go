package grayhertz

import (
	"testing"

	"github.com/cloudwego/hertz/pkg/protocol"
)

// TestHeaderNamesFoldInASCIIAlone: a Hertz that takes names as they come finds ours in any case, and not in letters that only
// Unicode takes for the same.
func TestHeaderNamesFoldInASCIIAlone(t *testing.T) {
	h := &protocol.RequestHeader{}
	h.DisableNormalizing()
	h.Set("X-REQUEST-ID", "ours")
	h.Set("x-requeſt-id2", "not ours")
	h.Set("x-mſe-tag", "gray")
	h.Set("x-s\u212Ay", "gray")
	carrier := requestCarrier{h}
	for name, want := range map[string]string{"x-request-id": "ours", "x-request-id2": "", "x-mse-tag": "", "x-sky": ""} {
		if got := carrier.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
