// Package next is how a service calls the next one of the chain over HTTP and over a stream. Neither knows of tags: the
// clients that they are given carry them, and choose the instance.
package next

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/hertz/pkg/protocol/consts"
)

// Doer is a Hertz client.
type Doer interface {
	Do(ctx context.Context, req *protocol.Request, resp *protocol.Response) error
}

// HTTP calls services by their name in the registry.
type HTTP struct {
	Client  Doer
	Timeout time.Duration // until the answer is there
}

// maxQuoted bounds how much of an answer an error quotes.
const maxQuoted = 300

// Get calls GET path of a service. An answer other than 200 is an error that quotes it.
func (h HTTP) Get(ctx context.Context, service, path string) error {
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	req.SetMethod(consts.MethodGet)
	req.SetRequestURI("http://" + service + path)
	req.SetOptions(config.WithSD(true), config.WithReadTimeout(h.Timeout))
	if err := h.Client.Do(ctx, req, resp); err != nil {
		return fmt.Errorf("GET %s of service %s: %w", path, service, err)
	}
	if status := resp.StatusCode(); status != consts.StatusOK {
		body := strings.TrimSpace(string(resp.Body()))
		if len(body) > maxQuoted {
			body = body[:maxQuoted] + "…"
		}
		return fmt.Errorf("GET %s of service %s: status %d: %s", path, service, status, body)
	}
	return nil
}
