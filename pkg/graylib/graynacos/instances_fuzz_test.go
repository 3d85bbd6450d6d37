package graynacos

import (
	"net"
	"strings"
	"testing"

	"github.com/nacos-group/nacos-sdk-go/v2/model"

	"github.com/graychain/graychain/pkg/graylib"
)

// FuzzInstances: whatever stands in the registry, what is routed to has an address, a weight and a well-formed tag, and each
// healthy one is either taken or told of.
func FuzzInstances(f *testing.F) {
	f.Add("127.0.0.1", uint64(20001), 1.0, "", "", "", true)
	f.Add("10.0.0.7", uint64(20101), 0.5, "gray", "a-1", "z1", true)
	f.Add("::1", uint64(65536), 1.0, "No Tag", "", "", true)
	f.Add("", uint64(0), -1.0, "baseline", "", "", false)
	f.Fuzz(func(t *testing.T, ip string, port uint64, weight float64, tag, id, zone string, healthy bool) {
		host := model.Instance{Ip: ip, Port: port, Weight: weight, Healthy: healthy, Enable: true, Metadata: map[string]string{
			graylib.MetadataTag: tag, graylib.MetadataInstance: id, graylib.MetadataZone: zone,
		}}
		bad := 0
		got := instances("a", []model.Instance{host}, func(string, error) { bad++ })
		_, err := graylib.ParseTag(tag)
		if bad > 0 && err == nil {
			t.Fatalf("tag %q was refused", tag)
		}
		if len(got)+bad > 1 || len(got) > 0 && !healthy {
			t.Fatalf("%d were taken and %d refused of one, healthy: %t", len(got), bad, healthy)
		}
		for _, i := range got {
			h, p, splitErr := net.SplitHostPort(i.Addr)
			if splitErr != nil && !strings.ContainsAny(ip, "[]") || h == "" && splitErr == nil || p == "0" || err != nil || !(i.Weight > 0) || i.ID == "" || i.Zone != zone {
				t.Fatalf("%+v was made of %+v", i, host)
			}
		}
	})
}
