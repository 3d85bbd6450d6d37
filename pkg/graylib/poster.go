package graylib

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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

// post makes one try. It returns false where another one may help, else the number of lines that were refused.
func (p poster) post(ctx context.Context, body []byte, lines int64) (refused int64, done bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, false
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // read to its end, so that the connection is used again
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return 0, true
	case code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code/100 != 4:
		return 0, false
	}
	// The observer keeps the good lines of a batch with bad ones, and says how many were bad.
	var posted struct {
		RefusedTotal int64 `json:"refusedTotal"`
	}
	if err == nil && json.Unmarshal(answer, &posted) == nil && posted.RefusedTotal > 0 && posted.RefusedTotal <= lines {
		return posted.RefusedTotal, true
	}
	return lines, true
}
