package observer_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/pkg/graylib"
)

// FuzzPost: whatever is posted, each line that isn't blank is accepted, known already or refused, and a refusal is said.
func FuzzPost(f *testing.F) {
	f.Add(lines(chain("1", "r", "m"), finished("2", "m", "r", "success")))
	f.Add(lines(chain("1", "r", "m")) + "\n \n{\"v\":1}\n" + lines(chain("1", "r", "m")))
	f.Add("{")
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		observer.Handler(observer.NewStore(1000, 1<<20)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, graylib.ObserverPath, strings.NewReader(body)))
		var out observer.Posted
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		given := 0
		for l := range strings.SplitSeq(body, "\n") {
			if strings.TrimSpace(l) != "" {
				given++
			}
		}
		if got := out.Accepted + out.Repeated + out.RefusedTotal; got != given {
			t.Fatalf("of %d lines %d are accounted for: %+v", given, got, out)
		}
		if (w.Code == http.StatusOK) != (out.RefusedTotal == 0) {
			t.Fatalf("status %d with %d refused", w.Code, out.RefusedTotal)
		}
	})
}
