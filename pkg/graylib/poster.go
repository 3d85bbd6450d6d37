package graylib

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// poster posts lines to one observer.
type poster struct {
	url    string
	client *http.Client
}

func newPoster(base string) (poster, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return poster{}, invalid(EnvObserver, base, "want a URL like http://127.0.0.1:20099")
	}
	// A transport of its own: closing idle connections must not touch the program's. One connection is enough.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return poster{url: u.JoinPath(ObserverPath).String(), client: &http.Client{Timeout: reporterTimeout, Transport: transport}}, nil
}

// postAnswer is what came of one try.
type postAnswer struct {
	err     error // another try may help; nil = the observer has answered for good
	refused int64 // lines, where it has
	smaller bool  // with fewer lines a try may do better
}

var errObserverAnswer = errors.New("observer answers")

// post makes one try. The observer refuses for good with 400 and 413, and wherever it says how many lines are bad; any other
// answer but 2xx may be of a proxy, a login or a wrong address, and change.
func (p poster) post(ctx context.Context, body []byte, lines int64) postAnswer {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return postAnswer{err: err}
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := p.client.Do(req)
	if err != nil {
		var slow net.Error
		return postAnswer{err: err, smaller: errors.As(err, &slow) && slow.Timeout()}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // read to its end, so that the connection is used again
	code := resp.StatusCode
	if code/100 == 2 {
		return postAnswer{}
	}
	// The observer keeps the good lines of a batch with bad ones, and says how many were bad.
	var posted struct {
		RefusedTotal int64 `json:"refusedTotal"`
	}
	known := err == nil && json.Unmarshal(answer, &posted) == nil && posted.RefusedTotal > 0 && posted.RefusedTotal <= lines
	switch {
	case known && code/100 == 4:
		return postAnswer{refused: posted.RefusedTotal}
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge:
		return postAnswer{refused: lines, smaller: code == http.StatusRequestEntityTooLarge}
	}
	return postAnswer{err: fmt.Errorf("%w: %s", errObserverAnswer, resp.Status), smaller: code == http.StatusRequestTimeout}
}
