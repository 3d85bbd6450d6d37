package graylib

import (
	"context"
	"slices"
	"testing"
	"time"
)

// tellingRegistry takes every registration and says by itself, later, that it holds.
type tellingRegistry struct {
	tell       func(component, why string)
	registered chan struct{}
}

func (r *tellingRegistry) OnState(fn func(component, why string)) { r.tell = fn }
func (r *tellingRegistry) Table(context.Context, string) (*Table, error) {
	return NewTable("b"), nil
}
func (r *tellingRegistry) Register(context.Context, Registration) error {
	defer close(r.registered)
	r.tell("registration b", "the server is away")
	return nil
}
func (r *tellingRegistry) Deregister(context.Context, Registration) error { return nil }
func (r *tellingRegistry) Close() error                                   { return nil }

func TestReadinessIsTheRegistrysToTell(t *testing.T) {
	r := &tellingRegistry{registered: make(chan struct{})}
	rt, err := New(Identity{Service: "b"}, WithRegistry(r))
	if err != nil {
		t.Fatal(err)
	}
	a := rt.Announce(Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
	select {
	case <-a.stopped:
	case <-time.After(30 * time.Second):
		t.Fatal("the endpoint was not announced within 30 s")
	}
	if s := rt.Status(); s.Ready || !slices.Equal(s.NotReady, []string{"registration b: the server is away"}) {
		t.Errorf("ready %v, %q: Register's nil was taken for a registration", s.Ready, s.NotReady)
	}
	r.tell("registration b", "")
	if s := rt.Status(); !s.Ready {
		t.Errorf("not ready: %q", s.NotReady)
	}
}
