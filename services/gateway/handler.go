package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/hertz/pkg/protocol/consts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/answer"
)

// doer is the Hertz client, as far as the gateway needs it.
type doer interface {
	Do(ctx context.Context, req *protocol.Request, resp *protocol.Response) error
}

// handler hands /A/x to service a as /x, and so on; bodies stream in both directions.
type handler struct {
	client   doer
	services map[string]string // first segment of the path -> service
	timeout  time.Duration     // until an answer begins
	answer   answer.Renderer
}

// proxy serves every path.
func (h *handler) proxy(ctx context.Context, c *app.RequestContext) {
	service, path, ok := h.route(string(c.Request.URI().PathOriginal()))
	if !ok {
		h.answer.Error(ctx, c, consts.StatusNotFound, fmt.Errorf("no service at %q: there are %s",
			string(c.Request.URI().PathOriginal()), h.prefixes()))
		return
	}
	req := protocol.AcquireRequest()
	defer protocol.ReleaseRequest(req)
	outbound(req, c, service, path)
	req.SetOptions(config.WithReadTimeout(h.timeout))
	if err := h.client.Do(ctx, req, &c.Response); err != nil {
		c.Response.Reset()
		h.answer.Fail(ctx, c, fmt.Errorf("service %s: %w", service, err))
		return
	}
	inbound(&c.Response)
}

// route splits /A/x?y, as the client spelled it, into the service and the path as the service sees it. What a service tells of itself
// isn't for outside: there is no service at such a path.
func (h *handler) route(path string) (service, rest string, ok bool) {
	prefix, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	service, ok = h.services[prefix]
	rest = "/" + rest
	return service, rest, ok && !inside(rest)
}

// inside tells whether a path is one that graylib's or the program's own pages have, however it is spelled.
func inside(path string) bool {
	u := protocol.AcquireURI()
	defer protocol.ReleaseURI(u)
	u.Parse([]byte("service"), []byte(path))
	plain := string(u.Path()) // unescaped, and without dots and double slashes, as a service's router sees it
	return plain == graylib.MetricsPath || plain == graylib.StatusPath || plain == graylib.ReadyPath
}

// prefixes names what exists.
func (h *handler) prefixes() string {
	var list []string
	for p := range h.services {
		list = append(list, "/"+p+"/")
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
