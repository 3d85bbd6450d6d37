package graylib_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/graychain/graychain/pkg/graylib"
)

// One hop as an adapter sees it: a tagged request arrives, and the call that it causes goes to the lane's instance.
func Example() {
	rt, err := graylib.New(graylib.Identity{Service: "a", Tag: "gray", Instance: "a-gray-1", Addr: "10.0.0.1:20001"})
	if err != nil {
		fmt.Println(err)
		return
	}
	table := graylib.NewTable("b") // a registry keeps it up to date
	table.Store(graylib.NewSnapshot([]graylib.Instance{
		{ID: "b-1", Addr: "10.0.0.2:20002", Weight: 1},
		{ID: "b-gray-1", Addr: "10.0.0.3:20002", Weight: 1, Tag: "gray"},
	}))

	in := http.Header{"X-Gray-Tag": {"gray"}, "X-Gray-Reason": {"lane"}, "X-Gray-Hops": {graylib.HopsWanted}}
	ctx, arrival := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.HeaderCarrier(in))

	// The handler passes ctx on; the client's adapter does the rest.
	_, call := rt.Depart(ctx, "b", nil)
	instance, reason, err := call.Next(table)
	if err != nil {
		fmt.Println(err)
		return
	}
	out := http.Header{}
	call.Inject(graylib.HTTPKeys, graylib.HeaderCarrier(out))
	fmt.Println("calls", instance.ID, "because of", reason, "with tag", out.Get("x-gray-tag"))

	// What the callee sent back joins the own hop.
	answer := graylib.MapCarrier{"x-gray-hops": `[{"service":"b","tag":"gray","instance":"b-gray-1"}]`}
	call.Return(graylib.HTTPKeys, answer)
	hops, _ := arrival.Chain()
	for _, h := range hops {
		fmt.Println("hop", h.Service, h.Tag)
	}
	// Output:
	// calls b-gray-1 because of lane with tag gray
	// hop a gray
	// hop b gray
}

func ExampleParseTag() {
	for _, s := range []string{"gray", "", "Gray", "baseline"} {
		tag, err := graylib.ParseTag(s)
		fmt.Println(tag, err)
	}
	// Output:
	// gray <nil>
	// - <nil>
	// - malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -
	// - malformed tag "baseline": reserved word
}

func ExampleChoose() {
	instances := []graylib.Instance{
		{ID: "b-1", Addr: "10.0.0.2:20002", Weight: 1},
		{ID: "b-gray-1", Addr: "10.0.0.3:20002", Weight: 1, Tag: "gray"},
	}
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray", "blue"} {
		chosen, reason := graylib.Choose(instances, tag)
		fmt.Println(tag, chosen[0].ID, reason)
	}
	// Output:
	// - b-1 baseline
	// gray b-gray-1 lane
	// blue b-1 fallback: no instance
}

func ExampleInject() {
	ctx := graylib.WithTag(context.Background(), "gray")
	h := http.Header{}
	graylib.Inject(ctx, graylib.HTTPKeys, graylib.HeaderCarrier(h))
	fmt.Println(h.Get("x-gray-tag"))

	back, err := graylib.Extract(context.Background(), graylib.HTTPKeys, graylib.HeaderCarrier(h))
	fmt.Println(graylib.TagFrom(back), err)
	// Output:
	// gray
	// gray <nil>
}

// A call whose lane refuses the connection goes to the baseline within the same call, and keeps its tag.
func ExampleCall_Next() {
	rt, err := graylib.New(graylib.Identity{Service: "a"})
	if err != nil {
		fmt.Println(err)
		return
	}
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot([]graylib.Instance{
		{ID: "b-1", Addr: "10.0.0.2:20002", Weight: 1},
		{ID: "b-gray-1", Addr: "10.0.0.3:20002", Weight: 1, Tag: "gray"},
	}))
	_, call := rt.Depart(graylib.WithTag(context.Background(), "gray"), "b", nil)
	for {
		instance, reason, err := call.Next(table)
		if err != nil {
			fmt.Println(err)
			return
		}
		out := graylib.MapCarrier{}
		call.Inject(graylib.RPCKeys, out)
		fmt.Printf("%s, %s, tag %s\n", instance.ID, reason, out["GRAY_TAG"])
	}
	// Output:
	// b-gray-1, lane, tag gray
	// b-1, fallback: connect failed, tag gray
	// no instance of b for tag gray: 2 known, 2 tried and failed
}

func ExampleRuntime_Strip() {
	rt, err := graylib.New(graylib.Identity{Service: "gateway"})
	if err != nil {
		fmt.Println(err)
		return
	}
	h := http.Header{}
	h.Set("X-Gray-Tag", "gray") // a client's word
	h.Set("Rpc-Persist-Gray-Tag", "gray")
	h.Set("Baggage", "user=1,gray-tag=gray")
	h.Set("X-User-Id", "7")
	fmt.Println("stripped", rt.Strip(httpHeaders{graylib.HeaderCarrier(h)}))
	fmt.Println(h)
	// Output:
	// stripped 3
	// map[Baggage:[user=1] X-User-Id:[7]]
}
