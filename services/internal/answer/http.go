package answer

import (
	"context"
	"errors"
	"mime"
	"strconv"
	"strings"

	"github.com/cloudwego/hertz/pkg/app"
	hertzerrors "github.com/cloudwego/hertz/pkg/common/errors"
	"github.com/cloudwego/hertz/pkg/protocol/consts"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/graychain/graychain/pkg/graylib"
)

// OK answers with the chain, in the form that the client asked for: JSON where it accepts application/json, else text.
func (r Renderer) OK(ctx context.Context, c *app.RequestContext) {
	r.write(c, consts.StatusOK, r.Of(ctx))
}

// Fail answers that the chain broke off, with the status that [Status] gives the error.
func (r Renderer) Fail(ctx context.Context, c *app.RequestContext, err error) {
	r.Error(ctx, c, Status(err), err)
}

// Error answers with an error and a status of the caller's choice.
func (r Renderer) Error(ctx context.Context, c *app.RequestContext, status int, err error) {
	a := r.Of(ctx)
	a.Error = err.Error()
	r.write(c, status, a)
}

// Status tells apart the ways in which a call to the next service fails: nobody is there (503), it was too slow (504), it
// failed or broke off (502).
func Status(err error) int {
	switch {
	case errors.Is(err, graylib.ErrNoInstance), errors.Is(err, kerrors.ErrNoMoreInstance), errors.Is(err, kerrors.ErrServiceDiscovery):
		return consts.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, hertzerrors.ErrTimeout), kerrors.IsTimeoutError(err):
		return consts.StatusGatewayTimeout
	}
	return consts.StatusBadGateway
}

func (r Renderer) write(c *app.RequestContext, status int, a Answer) {
	if AcceptsJSON(string(c.GetHeader("Accept"))) {
		c.PureJSON(status, a) // the arrows as they are
		return
	}
	if a.Error != "" {
		c.String(status, "%s\n", a.Error)
		return
	}
	c.String(status, "%s", a.Text)
}

// AcceptsJSON tells whether a client that sent this Accept header wants application/json rather than text. A wildcard
// alone asks for nothing in particular, and gets text.
func AcceptsJSON(accept string) bool {
	asJSON, asText := 0.0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0 // https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		switch mediaType {
		case "application/json":
			asJSON = max(asJSON, q)
		case "text/plain":
			asText = max(asText, q)
		}
	}
	return asJSON > 0 && asJSON >= asText
}
