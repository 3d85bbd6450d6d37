package graynacos

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

func TestInstances(t *testing.T) {
	host := func(change func(*model.Instance)) model.Instance {
		h := model.Instance{Ip: "10.0.0.1", Port: 80, Weight: 1, Healthy: true, Enable: true}
		change(&h)
		return h
	}
	meta := func(kv ...string) func(*model.Instance) {
		return func(h *model.Instance) {
			h.Metadata = map[string]string{}
			for i := 0; i < len(kv); i += 2 {
				h.Metadata[kv[i]] = kv[i+1]
			}
		}
	}
	for _, tt := range []struct {
		name string
		host model.Instance
		want []graylib.Instance
		bad  int
	}{
		{"baseline", host(func(*model.Instance) {}), []graylib.Instance{{ID: "10.0.0.1:80", Service: "b", Addr: "10.0.0.1:80", Weight: 1}}, 0},
		{"gray", host(meta(graylib.MetadataTag, "gray", graylib.MetadataInstance, "b-1")),
			[]graylib.Instance{{ID: "b-1", Service: "b", Addr: "10.0.0.1:80", Weight: 1, Tag: "gray"}}, 0},
		{"IPv6", host(func(h *model.Instance) { h.Ip = "::1" }), []graylib.Instance{{ID: "[::1]:80", Service: "b", Addr: "[::1]:80", Weight: 1}}, 0},
		{"malformed tag", host(meta(graylib.MetadataTag, "Gray")), nil, 1},
		{"reserved tag", host(meta(graylib.MetadataTag, "baseline")), nil, 1},
		{"unhealthy", host(func(h *model.Instance) { h.Healthy = false }), nil, 0},
		{"disabled", host(func(h *model.Instance) { h.Enable = false }), nil, 0},
		{"weight 0", host(func(h *model.Instance) { h.Weight = 0 }), nil, 0},
		{"weight NaN", host(func(h *model.Instance) { h.Weight = math.NaN() }), nil, 0},
		{"no address", host(func(h *model.Instance) { h.Ip = "" }), nil, 0},
		{"no port", host(func(h *model.Instance) { h.Port = 0 }), nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := 0
			got := instances("b", []model.Instance{tt.host}, func(string, error) { bad++ })
			if tt.want == nil {
				tt.want = []graylib.Instance{}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || bad != tt.bad {
				t.Errorf("(-want +got):\n%s%d malformed tags told, want %d", diff, bad, tt.bad)
			}
		})
	}
}

func TestCopyHosts(t *testing.T) {
	hosts := []model.Instance{{Ip: "10.0.0.2", Metadata: map[string]string{"k": "v"}}, {Ip: "10.0.0.1"}}
	got := copyHosts(hosts)
	hosts[0].Metadata["k"] = "changed"
	hosts[0], hosts[1] = hosts[1], hosts[0]
	if got[0].Ip != "10.0.0.2" || got[0].Metadata["k"] != "v" {
		t.Errorf("the copy changed with its original: %+v", got)
	}
}
