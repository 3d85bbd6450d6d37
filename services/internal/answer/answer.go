// Package answer renders what a request's chain came to, as text and as structure (design/wire.md, "Answer").
//
// Handlers call it with their context and know nothing of what it shows: the adapters wrote the hops.
package answer

import (
	"context"
	"net"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/config"
)

// Answer is the structure; its text is a rendering of the hops.
type Answer struct {
	Text      string            `json:"text"`
	RequestID string            `json:"requestId"`
	Tag       graylib.Tag       `json:"tag"` // the request's
	Hops      []graylib.Hop     `json:"hops"`
	Messages  []graylib.Message `json:"messages"`
	Error     string            `json:"error,omitempty"` // why the chain broke off; the hops show how far it came
}

// Renderer makes answers. Its zero value shows ports as config.ShowAuto says.
type Renderer struct {
	ShowPort config.ShowPort
}

// Of returns the answer to the request that ctx belongs to, as far as its chain has come.
func (r Renderer) Of(ctx context.Context) Answer {
	a := Answer{RequestID: graylib.RequestIDFrom(ctx), Tag: graylib.TagFrom(ctx)}
	a.Hops, a.Messages = graylib.Chain(ctx)
	if a.Hops == nil {
		a.Hops = []graylib.Hop{}
	}
	if a.Messages == nil {
		a.Messages = []graylib.Message{}
	}
	a.Text = r.Text(a.Hops)
	return a
}

// Text renders hops: A[10.0.0.1] -> B[10.0.0.2] -> Cgray[10.0.0.3].
func (r Renderer) Text(hops []graylib.Hop) string {
	var b strings.Builder
	for i, h := range hops {
		if i > 0 {
			b.WriteString(" -> ")
		}
		b.WriteString(r.Label(h.Service, h.Tag, h.Addr))
	}
	return b.String()
}

// Label names an instance: the service in upper case, its own tag, and its address, which shows the port where several
// instances share one host. addr is host:port.
func (r Renderer) Label(service string, tag graylib.Tag, addr string) string {
	return strings.ToUpper(service) + string(tag) + "[" + r.address(addr) + "]"
}

func (r Renderer) address(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	switch r.ShowPort {
	case config.ShowAlways:
		return addr
	case config.ShowNever:
		return host
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return addr
	}
	return host
}
