package grayhertz

import (
	"bytes"
	"io"

	"github.com/graychain/graychain/pkg/graylib"
)

// requestView is what rules see of a request that is about to be sent: as the callee sees it.
type requestView departure

// Value implements [graylib.Request].
func (v *requestView) Value(from graylib.From, key string, i int) (string, bool) {
	switch from {
	case graylib.FromHeader:
		if values := v.req.Header.PeekAll(key); i < len(values) {
			return string(values[i]), true
		}
	case graylib.FromQuery:
		return nth(v.req.URI().QueryArgs().VisitAll, key, i)
	case graylib.FromCookie:
		return nth(v.req.Header.VisitAllCookie, key, i)
	case graylib.FromPath:
		if i == 0 {
			return string(v.req.URI().Path()), true
		}
	case graylib.FromMethod:
		if i == 0 {
			return string(v.req.Header.Method()), true
		}
	case graylib.FromIP:
		if ip := graylib.ClientIPFrom(v.Context); i == 0 && ip != "" {
			return ip, true
		}
	}
	return "", false
}

// nth returns the i-th value of key among what visit shows.
func nth(visit func(func(k, v []byte)), key string, i int) (value string, ok bool) {
	visit(func(k, v []byte) {
		if ok || string(k) != key {
			return
		}
		if i == 0 {
			value, ok = string(v), true
		}
		i--
	})
	return value, ok
}

// Body implements [graylib.Request]. What it reads of a stream is put back in front of the rest.
func (v *requestView) Body() []byte {
	if !v.req.IsBodyStream() {
		if v.req.OnlyMultipartForm() {
			return nil // no JSON, and it would be written out for nothing
		}
		if b := v.req.BodyBytes(); len(b) <= graylib.MaxBody {
			return b
		}
		return nil
	}
	rest := v.req.BodyStream()
	head, err := io.ReadAll(io.LimitReader(rest, graylib.MaxBody+1))
	v.req.ConstructBodyStream(v.req.BodyBuffer(), &replay{Reader: io.MultiReader(bytes.NewReader(head), rest), closer: rest})
	if err != nil || len(head) > graylib.MaxBody {
		return nil
	}
	return head
}

// replay is a body whose head was read before.
type replay struct {
	io.Reader
	closer io.Reader
}

// Close implements [io.Closer].
func (r *replay) Close() error {
	if c, ok := r.closer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
