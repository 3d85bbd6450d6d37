// Package fleet asks the live instances of a system what they say of themselves.
package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Lister lists the endpoints of all live instances; *graynacos.Client is one.
type Lister interface {
	Instances(ctx context.Context) ([]graylib.Instance, error)
}

// Bounds of asking.
const (
	timeout   = 3 * time.Second // of one instance's answer
	maxStatus = 4 << 20         // bytes of one instance's answer
	atOnce    = 32              // instances asked at the same time
)

// Instance is one live instance and what it says of itself.
type Instance struct {
	Service string
	Tag     graylib.Tag
	ID      string
	Addr    string          // of its HTTP endpoint, where it was asked; empty = it has none
	Status  *graylib.Status // nil = it didn't answer; Problem says why
	Problem string
	Ahead   time.Duration // its clock's lead over this machine's, in whole seconds; known where Status is
}

// Join makes instances of their endpoints, sorted by service, tag and address.
func Join(endpoints []graylib.Instance) []Instance {
	var out []Instance
	for _, in := range endpoints {
		service, rpc := strings.CutSuffix(in.Service, graylib.RPCServiceSuffix)
		i := slices.IndexFunc(out, func(m Instance) bool { return m.Service == service && m.ID == in.ID })
		if i < 0 {
			i = len(out)
			out = append(out, Instance{Service: service, Tag: in.Tag, ID: in.ID})
		}
		if !rpc {
			out[i].Addr = in.Addr
		}
	}
	slices.SortFunc(out, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Ask lists the live instances and asks each for its status, all at once. An instance that can't be asked has a Problem; the
// error is about the list alone, or the context's.
func Ask(ctx context.Context, l Lister) ([]Instance, error) {
	endpoints, err := l.Instances(ctx)
	if err != nil {
		return nil, err
	}
	list := Join(endpoints)
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range list {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			list[i].ask(ctx, client)
		})
	}
	all.Wait()
	return list, ctx.Err()
}

func (in *Instance) ask(ctx context.Context, client *http.Client) {
	if in.Addr == "" {
		in.Problem = "it has no HTTP endpoint in the registry to ask"
		return
	}
	status, date, err := get(ctx, client, in.Addr)
	if err != nil {
		in.Problem = strings.Join(strings.Fields(err.Error()), " ")
		return
	}
	if status.Instance != in.ID && in.ID != in.Addr {
		in.Problem = fmt.Sprintf("instance %q answers at its address", status.Instance)
		return
	}
	in.Status, in.Ahead = status, date
}

func get(ctx context.Context, client *http.Client, addr string) (*graylib.Status, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+graylib.StatusPath, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers %d", graylib.StatusPath, resp.StatusCode)
	}
	var ahead time.Duration
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		ahead = date.Sub(time.Now().Truncate(time.Second))
	}
	status := new(graylib.Status)
	err = json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(status)
	return status, ahead, err
}
