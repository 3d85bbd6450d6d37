package fleet

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestAway: a broker is away where an instance has lost it and the name server doesn't know it; each is named once.
func TestAway(t *testing.T) {
	in := func(addr string, away ...string) Instance {
		groups := []graylib.GroupState{{Group: "g", Away: away}, {Group: "g__tagged", Away: away}}
		return Instance{Service: "a", Addr: addr, Status: &graylib.Status{Consumers: []graylib.ConsumerState{{Group: "g", Groups: groups}}}}
	}
	got := Away([]Instance{in("h:2", "b", "c"), in("h:1", "c"), in("h:3"), {Service: "a", Addr: "h:4"}}, map[string]string{"a": "x", "b": "y"})
	if diff := cmp.Diff([]AwayBroker{{Name: "c", Instances: []string{"a h:1", "a h:2"}}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := "broker c isn't registered at the name server, and a h:1, a h:2 had queues of it: what it holds can't be known. Start it again; where it is gone for good, restart those instances"
	if diff := cmp.Diff(want, got[0].String()); diff != "" {
		t.Errorf("in words (-want +got):\n%s", diff)
	}
}
