package graynacos

import (
	"context"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// servicePage is how many services are asked for at once.
const servicePage = 500

// Instances returns the live instances of all services that graylib has registered, one for each endpoint: a and b, and
// b.rpc too. Those of others aren't among them, nor those with a malformed tag, which nobody routes to.
func (c *Client) Instances(ctx context.Context) ([]graylib.Instance, error) {
	return c.fleet(ctx, func(string, string, error) {})
}

// Malformed is an endpoint that graylib has registered, or somebody by hand, with a tag that is none.
type Malformed struct {
	Service string // as registered
	Addr    string
	Err     error // names the tag
}

// MalformedInstances returns the live endpoints of graylib's services with a malformed tag; nobody routes to them.
func (c *Client) MalformedInstances(ctx context.Context) ([]Malformed, error) {
	var bad []Malformed
	_, err := c.fleet(ctx, func(service, addr string, err error) { bad = append(bad, Malformed{service, addr, err}) })
	return bad, err
}

func (c *Client) fleet(ctx context.Context, badTag func(service, addr string, err error)) ([]graylib.Instance, error) {
	naming, err := c.cluster.newNaming()
	if err != nil {
		return nil, err
	}
	defer closeNaming(naming)
	var services []string
	for page := uint32(1); ; page++ {
		var list model.ServiceList
		err := c.try(ctx, func() (err error) {
			list, err = naming.GetAllServicesInfo(vo.GetAllServiceInfoParam{NameSpace: c.cluster.namespace, GroupName: c.opts.group, PageNo: page, PageSize: servicePage})
			return err
		})
		if err != nil {
			return nil, err
		}
		services = append(services, list.Doms...)
		if len(list.Doms) == 0 || int64(len(services)) >= list.Count {
			break
		}
	}
	var out []graylib.Instance
	for _, service := range services {
		if _, name, grouped := strings.Cut(service, "@@"); grouped { // group@@name
			service = name
		}
		var got model.Service
		err := c.try(ctx, func() (err error) {
			got, err = naming.GetService(vo.GetServiceParam{ServiceName: service, GroupName: c.opts.group})
			return err
		})
		if err != nil {
			return nil, err
		}
		var ours []model.Instance
		for _, h := range copyHosts(got.Hosts) {
			if h.Metadata[graylib.MetadataService] != "" {
				ours = append(ours, h)
			}
		}
		out = append(out, instances(service, ours, func(addr string, err error) { badTag(service, addr, err) })...)
	}
	return out, nil
}
