package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// Request is a GET through the gateway. Rules can be asked about it: it implements graylib.Request.
type Request struct {
	Path   string      `json:"path"` // at the gateway: /A/dubbo
	Query  url.Values  `json:"query,omitempty"`
	Header http.Header `json:"header,omitempty"` // cookies included
}

// ParseRequest reads a path with or without a query.
func ParseRequest(target string) (Request, error) {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return Request{}, fmt.Errorf("path %q: %w", target, err)
	case u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/"):
		return Request{}, fmt.Errorf("path %q: want one at the gateway, such as /A/dubbo", target)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Request{}, fmt.Errorf("path %q: its query: %w", target, err)
	}
	return Request{Path: u.EscapedPath(), Query: query, Header: http.Header{}}, nil
}

// Target returns path and query.
func (r Request) Target() string {
	if len(r.Query) == 0 {
		return r.Path
	}
	return r.Path + "?" + r.Query.Encode()
}

// String is how people write the request.
func (r Request) String() string { return "GET " + r.Target() }

// callee returns the service that the gateway calls for the request, and the request as that service sees it.
func (r Request) callee() (string, *Request) {
	prefix, rest, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	r.Path = "/" + rest
	return strings.ToLower(prefix), &r
}

// Value implements graylib.Request.
func (r *Request) Value(from graylib.From, key string, i int) (string, bool) {
	var values []string
	switch from {
	case graylib.FromQuery:
		values = r.Query[key]
	case graylib.FromHeader:
		values = r.Header.Values(key)
	case graylib.FromCookie:
		for _, c := range (&http.Request{Header: r.Header}).Cookies() {
			if c.Name == key {
				values = append(values, c.Value)
			}
		}
	case graylib.FromPath:
		values = []string{r.Path}
	case graylib.FromMethod:
		values = []string{http.MethodGet}
	case graylib.FromIP:
		values = []string{Host}
	}
	if i >= len(values) {
		return "", false
	}
	return values[i], true
}

// Body implements graylib.Request.
func (r *Request) Body() []byte { return nil }

// Answer is what came back (design/wire.md, "Answer").
type Answer struct {
	Text      string            `json:"text"`
	RequestID string            `json:"requestId"`
	Tag       graylib.Tag       `json:"tag"`
	Hops      []graylib.Hop     `json:"hops"`
	Messages  []graylib.Message `json:"messages"`
	Error     string            `json:"error,omitempty"`

	Status int           `json:"-"`
	Took   time.Duration `json:"-"`
}

// ErrAnswer is wrapped where the gateway's answer is none of the chain's.
var ErrAnswer = errors.New("not an answer of the chain")

// Do sends a request to a gateway by its base URL and reads the structured answer. An answer with another status than 200 is
// no error.
func Do(ctx context.Context, c *http.Client, gateway string, r Request) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+r.Target(), nil)
	if err != nil {
		return Answer{}, err
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	began := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	a := Answer{Status: resp.StatusCode, Took: time.Since(began)}
	if err != nil {
		return a, fmt.Errorf("%s: %w", r, err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("%s: %w: status %d, %q", r, ErrAnswer, resp.StatusCode, clip(strings.TrimSpace(string(body)), 200))
	}
	if a.RequestID == "" {
		a.RequestID = resp.Header.Get(graylib.HTTPKeys.RequestID)
	}
	return a, nil
}

// Send sends a request to the suite's gateway.
func (s *Suite) Send(ctx context.Context, r Request) (Answer, error) {
	return Do(ctx, s.client, s.GatewayURL(), r)
}

// Judged is a loop with its verdict.
type Judged struct {
	Tag     graylib.Tag     `json:"tag"` // that the request had to have
	Loop    observer.Loop   `json:"loop"`
	Verdict verdict.Verdict `json:"verdict"`
}

// quietSpan is how much longer than to completion is waited for consumptions that should not be.
const quietSpan = time.Second

// Judge waits until the request's loop is complete, patience at most, and judges it by the rules in Nacos and the instances
// that live.
func (s *Suite) Judge(ctx context.Context, r Request, requestID string, patience time.Duration) (Judged, error) {
	doc, err := s.Rules(ctx)
	if err != nil {
		return Judged{}, err
	}
	w := worldOf(doc, s.live(), s.options.Topic)
	tag, certain := expectedTag(doc, r)
	loop, v, err := s.JudgeBy(ctx, requestID, w, patience, func(l observer.Loop) verdict.Want {
		if !certain && l.Chain != nil && len(l.Chain.Hops) > 0 {
			tag = l.Chain.Hops[len(l.Chain.Hops)-1].RequestTag
		}
		return verdict.ForPath(r.Path, tag)
	})
	return Judged{Tag: tag, Loop: loop, Verdict: v}, err
}

// JudgeBy is Judge in a world of the caller's, and with the caller's idea of what must be.
func (s *Suite) JudgeBy(ctx context.Context, requestID string, w verdict.World, patience time.Duration, want func(observer.Loop) verdict.Want) (observer.Loop, verdict.Verdict, error) {
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	loop, err := s.store.WaitLoop(wait, requestID, func(l observer.Loop) bool { return verdict.Settled(l, want(l), w) })
	if err == nil {
		quiet, cancel := context.WithTimeout(ctx, quietSpan)
		defer cancel()
		loop, _ = s.store.WaitLoop(quiet, requestID, func(l observer.Loop) bool { return verdict.Quiet(l, want(l), w) })
	}
	if ctx.Err() != nil {
		return loop, verdict.Verdict{}, ctx.Err()
	}
	return loop, verdict.Judge(loop, want(loop), w, time.Since(began)), nil
}

// expectedTag returns the tag that the rules give a request at the gateway. It is uncertain where they leave it to a
// callee further down, which may be governed by entries of its own.
func expectedTag(doc graylib.Rules, r Request) (tag graylib.Tag, certain bool) {
	service, seen := r.callee()
	if d, ok := doc.Colour(service, seen); ok {
		return d.Tag, d.Propagate
	}
	for _, other := range Laned {
		if g, ok := doc.(interface{ Governs(string) bool }); other != service && (!ok || g.Governs(other)) {
			return graylib.Untagged, false
		}
	}
	return graylib.Untagged, true
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
