package graylib_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

type oneTable struct {
	graylib.Registry
	table *graylib.Table
	err   error
}

func (r oneTable) Table(context.Context, string) (*graylib.Table, error) { return r.table, r.err }

func TestStatusShowsRoutes(t *testing.T) {
	table := graylib.NewTable("b.rpc")
	rt, err := graylib.New(graylib.Identity{Service: "a"}, graylib.WithRegistry(oneTable{table: table, err: errors.New("away")}))
	if err != nil {
		t.Fatal(err)
	}
	if got := rt.Routes(); len(got) != 0 {
		t.Errorf("routes before any call: %v", got)
	}
	// The registry is away: the table is empty, and fills later.
	if _, err := rt.Table(t.Context(), "b.rpc"); err == nil {
		t.Fatal("no error")
	}
	table.Store(graylib.NewSnapshot([]graylib.Instance{
		{Addr: "h:1", Weight: 1}, {Addr: "h:2", Weight: 1}, {Addr: "h:3", Weight: 1, Tag: "gray"}, {Addr: "h:4", Weight: 0, Tag: "blue"},
	}))
	b, err := json.Marshal(rt.Status())
	if err != nil {
		t.Fatal(err)
	}
	var got graylib.Status
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := graylib.Routes{"b.rpc": {graylib.Untagged: 2, "gray": 1}}
	if diff := cmp.Diff(want, got.Routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
