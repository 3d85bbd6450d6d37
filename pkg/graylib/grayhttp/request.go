package grayhttp

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// requestView is what rules see of a request that is about to be sent: as the callee sees it.
type requestView struct{ req *http.Request }

// Value implements [graylib.Request].
func (v *requestView) Value(from graylib.From, key string, i int) (string, bool) {
	switch from {
	case graylib.FromHeader:
		if values := v.req.Header.Values(key); i < len(values) {
			return values[i], true
		}
	case graylib.FromQuery:
		return queryValue(v.req.URL.RawQuery, key, i)
	case graylib.FromCookie:
		for _, c := range v.req.CookiesNamed(key) {
			if i == 0 {
				return c.Value, true
			}
			i--
		}
	case graylib.FromPath:
		if i == 0 {
			return v.req.URL.Path, true
		}
	case graylib.FromMethod:
		if i == 0 {
			if v.req.Method == "" {
				return http.MethodGet, true
			}
			return v.req.Method, true
		}
	case graylib.FromIP:
		if ip := graylib.ClientIPFrom(v.req.Context()); i == 0 && ip != "" {
			return ip, true
		}
	}
	return "", false
}

// queryValue returns the i-th value of key in a query, as [url.ParseQuery] reads it, without building a map.
func queryValue(query, key string, i int) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if pair == "" || strings.Contains(pair, ";") {
			continue
		}
		k, value, _ := strings.Cut(pair, "=")
		if k != key {
			u, err := url.QueryUnescape(k)
			if err != nil || u != key {
				continue
			}
		}
		value, err := url.QueryUnescape(value)
		if err != nil {
			continue
		}
		if i == 0 {
			return value, true
		}
		i--
	}
	return "", false
}

// Body implements [graylib.Request]. What it reads is put back in front of the rest.
func (v *requestView) Body() []byte {
	if v.req.Body == nil || v.req.Body == http.NoBody {
		return nil
	}
	b, ok := v.req.Body.(*body)
	if !ok {
		return nil
	}
	return b.peek()
}

// body is a request's body that can be looked into and that survives tries in which no connection was made: [http.Transport]
// closes it then, though it didn't read it.
type body struct {
	mu      sync.Mutex
	rc      io.ReadCloser // nil: there is none
	head    *bytes.Reader // read before, and put in front
	whole   []byte        // the whole body, where it was looked into and not too long
	read    bool          // something was read for sending
	closing bool          // a Close was held back
	final   bool          // no further try is made
}

// newBody puts a body in place of the request's, and returns it.
func newBody(r *http.Request) *body {
	b := &body{}
	if r.Body != nil && r.Body != http.NoBody {
		b.rc = r.Body
		r.Body = b
	}
	return b
}

// peek returns the whole body, or nil where it is longer than [graylib.MaxBody] or can't be read.
func (b *body) peek() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.head == nil {
		head, err := io.ReadAll(io.LimitReader(b.rc, graylib.MaxBody+1))
		b.head = bytes.NewReader(head)
		if err == nil && len(head) <= graylib.MaxBody {
			b.whole = head
		}
	}
	return b.whole
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	if b.head != nil && b.head.Len() > 0 {
		defer b.mu.Unlock()
		return b.head.Read(p)
	}
	b.mu.Unlock()
	return b.rc.Read(p)
}

// Close implements [io.Closer]. While another try may follow, closing what wasn't read is held back.
func (b *body) Close() error {
	b.mu.Lock()
	held := !b.read && !b.final
	b.closing = b.closing || held
	b.mu.Unlock()
	if held {
		return nil
	}
	return b.rc.Close()
}

// touched tells whether something was read for sending, so that no further try can be made.
func (b *body) touched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// finish says that no further try is made.
func (b *body) finish() {
	b.mu.Lock()
	closing := b.closing
	b.final, b.closing = true, false
	b.mu.Unlock()
	if closing && b.rc != nil {
		_ = b.rc.Close()
	}
}
