package graynacos

import (
	"maps"
	"math"
	"net"
	"strconv"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

// copyHosts copies what the client hands to a callback, which it goes on changing (it sorts the slice in place).
func copyHosts(hosts []model.Instance) []model.Instance {
	out := make([]model.Instance, len(hosts))
	copy(out, hosts)
	for i := range out {
		out[i].Metadata = maps.Clone(out[i].Metadata)
	}
	return out
}

// instances maps a registry's list to what graylib routes to: healthy, enabled, with a weight above 0 and a well-formed
// tag. One whose tag is malformed is told to badTag and left out: it is neither baseline nor of any lane.
func instances(service string, hosts []model.Instance, badTag func(addr string, err error)) []graylib.Instance {
	out := make([]graylib.Instance, 0, len(hosts))
	for _, h := range hosts {
		if !h.Healthy || !h.Enable || h.Ip == "" || h.Port == 0 || h.Port > 65535 || !goodWeight(h.Weight) {
			continue
		}
		addr := net.JoinHostPort(h.Ip, strconv.FormatUint(h.Port, 10))
		tag, err := graylib.ParseTag(h.Metadata[graylib.MetadataTag])
		if err != nil {
			badTag(addr, err)
			continue
		}
		id := h.Metadata[graylib.MetadataInstance]
		if id == "" {
			id = addr
		}
		out = append(out, graylib.Instance{ID: id, Service: service, Addr: addr, Tag: tag, Weight: h.Weight, Zone: h.Metadata[graylib.MetadataZone]})
	}
	return out
}

func goodWeight(w float64) bool { return w > 0 && !math.IsNaN(w) && !math.IsInf(w, 0) }
