package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

type list []graylib.Instance

func (l list) Instances(context.Context) ([]graylib.Instance, error) {
	if l == nil {
		return nil, errors.New("registry is away")
	}
	return l, nil
}

func TestAsk(t *testing.T) {
	serve := func(instance string, code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(graylib.Status{Instance: instance})
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	good, other, broken := serve("b-1", 200), serve("b-9", 200), serve("b-3", 500)
	got, err := Ask(t.Context(), list{
		{ID: "b-1", Service: "b.rpc", Addr: "h:1"}, {ID: "b-1", Service: "b", Addr: good}, {ID: "b-2", Service: "b", Tag: "gray", Addr: other},
		{ID: "b-3", Service: "b", Tag: "red", Addr: broken}, {ID: "c-1", Service: "c.rpc", Addr: "h:2"}, {ID: "a-1", Service: "a", Addr: "127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, in := range got {
		s := in.Service + " " + in.Tag.String() + " " + in.ID + ": " + in.Problem
		if in.Status != nil {
			s += "answered"
			if in.Ahead < 59*time.Minute || in.Ahead > 61*time.Minute {
				t.Errorf("%s is %v ahead, want an hour", in.ID, in.Ahead)
			}
		}
		seen = append(seen, s)
	}
	want := []string{
		`a - a-1: Get "http://127.0.0.1:1/graychain/status": dial tcp 127.0.0.1:1: connect: connection refused`,
		"b - b-1: answered", `b gray b-2: instance "b-9" answers at its address`, "b red b-3: /graychain/status answers 500",
		"c - c-1: it has no HTTP endpoint in the registry to ask",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := Ask(t.Context(), list(nil)); err == nil {
		t.Error("no list gave no error")
	}
}
