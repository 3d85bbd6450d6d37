package answer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	hertzerrors "github.com/cloudwego/hertz/pkg/common/errors"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/config"
)

func TestText(t *testing.T) {
	hops := func(addrs ...string) []graylib.Hop {
		list := []graylib.Hop{{Service: "a", Tag: "gray"}, {Service: "b"}, {Service: "c", Tag: "gray"}}
		for i := range list {
			list[i].Addr = addrs[i]
		}
		return list
	}
	for _, test := range []struct {
		show config.ShowPort
		hops []graylib.Hop
		want string
	}{
		{"", nil, ""},
		{"", hops("10.0.0.1:20001", "10.0.0.2:20002", "10.0.0.3:20003"), "Agray[10.0.0.1] -> B[10.0.0.2] -> Cgray[10.0.0.3]"},
		{config.ShowAuto, hops("127.0.0.1:20101", "localhost:20002", "[::1]:20103"), "Agray[127.0.0.1:20101] -> B[localhost:20002] -> Cgray[[::1]:20103]"},
		{config.ShowNever, hops("127.0.0.1:20101", "localhost:20002", "[::1]:20103"), "Agray[127.0.0.1] -> B[localhost] -> Cgray[::1]"},
		{config.ShowAlways, hops("10.0.0.1:1", "b.example:2", "[fd00::1]:3"), "Agray[10.0.0.1:1] -> B[b.example:2] -> Cgray[[fd00::1]:3]"},
		{config.ShowAuto, hops("", "b", "fd00::1"), "Agray[] -> B[b] -> Cgray[fd00::1]"},
	} {
		if got := (Renderer{ShowPort: test.show}).Text(test.hops); got != test.want {
			t.Errorf("%s: %q, want %q", test.show, got, test.want)
		}
	}
}

func TestOf(t *testing.T) {
	rt, err := graylib.New(graylib.Identity{Service: "a", Addr: "10.0.0.1:20001"})
	if err != nil {
		t.Fatal(err)
	}
	keys := graylib.HTTPKeys
	ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, keys, graylib.MapCarrier{keys.Tag: "gray", keys.RequestID: "r1"})
	graylib.RecordMessage(ctx, graylib.Message{ID: "1", Topic: "T"})
	a := Renderer{}.Of(ctx)
	if a.Text != "A[10.0.0.1]" || a.Tag != "gray" || a.RequestID != "r1" || len(a.Hops) != 1 || len(a.Messages) != 1 {
		t.Errorf("%+v", a)
	}
	if a := (Renderer{}).Of(t.Context()); a.Hops == nil || a.Messages == nil {
		t.Errorf("%+v: lists must be empty in JSON, not null", a)
	}
}

func TestAcceptsJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                     false,
		"*/*":                                  false,
		"application/*":                        false,
		"text/html, */*;q=0.8":                 false,
		"application/json":                     true,
		"Application/JSON; charset=utf-8":      true,
		"text/plain, application/json":         true,
		"application/json;q=0.5, text/plain":   false,
		"application/json, text/plain;q=0.5":   true,
		"application/json;q=0":                 false,
		"application/json;q=x":                 false,
		"application/jsonp":                    false,
		";;,application/json":                  true,
		"application/problem+json, text/plain": false,
	} {
		if got := AcceptsJSON(accept); got != want {
			t.Errorf("Accept: %s: %v, want %v", accept, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{graylib.ErrNoInstance, 503},
		{kerrors.ErrNoMoreInstance.WithCause(errors.New("x")), 503},
		{kerrors.ErrServiceDiscovery.WithCause(errors.New("x")), 503},
		{context.DeadlineExceeded, 504},
		{hertzerrors.ErrTimeout, 504},
		{kerrors.ErrRPCTimeout.WithCause(errors.New("x")), 504},
		{errors.New("EOF"), 502},
	} {
		if got := Status(fmt.Errorf("service b: %w", test.err)); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestSent(t *testing.T) {
	var sent Sent
	ctx := sent.Watch(t.Context())
	graylib.RecordMessage(ctx, graylib.Message{ID: "1", Tag: "gray"})
	graylib.RecordMessage(ctx, graylib.Message{ID: "2"})
	if sent.Tag("1") != "gray" || sent.Tag("2") != "" || sent.Tag("3") != "" {
		t.Errorf("tags %q, %q, %q", sent.Tag("1"), sent.Tag("2"), sent.Tag("3"))
	}
}
