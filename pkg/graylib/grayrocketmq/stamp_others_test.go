package grayrocketmq

import (
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestOtherCarriers: with baggage and presets on a message bears the tag in all of them, is read by each alone, and is the
// application's again after the send.
func TestOtherCarriers(t *testing.T) {
	rt, err := graylib.New(graylib.Identity{Service: "c"}, graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes", "sermant=x_lane_canary"))
	if err != nil {
		t.Fatal(err)
	}
	m := primitive.NewMessage("T", []byte("body"))
	m.WithProperty("user", "u")
	m.WithProperty("baggage", "a=1,gray-tag=old")
	m.WithProperty("x_lane_canary", "old")
	before := map[string]string{}
	for k, v := range m.GetProperties() {
		before[k] = v
	}
	stamps, err := stampAll(graylib.WithTag(t.Context(), "gray"), rt, nil, []*primitive.Message{m})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"user": "u", "gray_tag": "gray", "baggage": "a=1,gray-tag=gray", "__microservice_tag__": `[{"name":"gray"}]`,
		"X-Polaris-Metadata-Transitive-service-lane": "lanes/gray", "x_lane_canary": "gray",
	}
	if diff := cmp.Diff(want, m.GetProperties()); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	for _, key := range []string{"gray_tag", "baggage", "__microservice_tag__", "X-Polaris-Metadata-Transitive-service-lane", "x_lane_canary"} {
		alone := primitive.NewMessage("T", nil)
		alone.WithProperty(key, m.GetProperty(key))
		ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolMQ, arrivalKeys, arrivalCarrier{propertyCarrier: propertyCarrier{alone}})
		if got := graylib.TagFrom(ctx); got != "gray" {
			t.Errorf("with %s alone the handler sees %q", key, got)
		}
	}
	unstamp(stamps)
	if diff := cmp.Diff(before, m.GetProperties()); diff != "" {
		t.Errorf("after the send (-want +got):\n%s", diff)
	}
	if _, err := stampAll(t.Context(), rt, nil, []*primitive.Message{m}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"user": "u", "baggage": "a=1"}, m.GetProperties()); diff != "" {
		t.Errorf("sent without a tag (-want +got):\n%s", diff)
	}
}
