package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// registryPath is Nacos's list of a service's instances, as it would answer a subscriber now: its answers lag behind what is
// registered by half a second, and a caller that asks for the first time gets them.
const registryPath = "/nacos/v3/client/ns/instance/list"

// registry compares what Nacos answers with the live instances, and says what differs. A Nacos that has not this API (2.x)
// is not asked.
func (s *Suite) registry(ctx context.Context, live []*Instance) string {
	want := map[string][]string{} // endpoint -> addresses
	for _, service := range Services {
		want[service] = nil
		if _, rpc := s.options.Ports.Of(service); rpc != 0 {
			want[service+graylib.RPCServiceSuffix] = nil
		}
	}
	for _, i := range live {
		want[i.Service] = append(want[i.Service], i.HTTP)
		if i.RPC != "" {
			endpoint := i.Service + graylib.RPCServiceSuffix
			want[endpoint] = append(want[endpoint], i.RPC)
		}
	}
	var mu sync.Mutex
	var behind string
	var all sync.WaitGroup
	for endpoint, addrs := range want {
		all.Go(func() {
			has, known, err := s.listed(ctx, endpoint)
			slices.Sort(addrs)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				behind = "nacos: " + err.Error()
			case known && !slices.Equal(addrs, has):
				behind = fmt.Sprintf("nacos lists %s at [%s], live are [%s]", endpoint, strings.Join(has, " "), strings.Join(addrs, " "))
			}
		})
	}
	all.Wait()
	return behind
}

// listed asks Nacos for the addresses of an endpoint, sorted; known is false where it doesn't have the API.
func (s *Suite) listed(ctx context.Context, endpoint string) (addrs []string, known bool, err error) {
	status, body, err := get(ctx, s.client, "http://"+s.options.NacosAddr+registryPath+"?serviceName="+url.QueryEscape(endpoint))
	switch {
	case err != nil:
		return nil, true, err
	case status == http.StatusNotFound:
		return nil, false, nil
	case status != http.StatusOK:
		return nil, true, fmt.Errorf("%s answers %d for %s", registryPath, status, endpoint)
	}
	var answer struct {
		Data []struct {
			IP      string `json:"ip"`
			Port    int    `json:"port"`
			Healthy bool   `json:"healthy"`
			Enabled bool   `json:"enabled"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, true, fmt.Errorf("%s for %s: %w", registryPath, endpoint, err)
	}
	for _, in := range answer.Data {
		if in.Healthy && in.Enabled {
			addrs = append(addrs, net.JoinHostPort(in.IP, strconv.Itoa(in.Port)))
		}
	}
	slices.Sort(addrs)
	return addrs, true, nil
}
