package request

import (
	"context"
	"net/http"
	"strings"
)

type service struct{ client *http.Client }

func (s *service) serve(ctx context.Context) error {
	req, err := http.NewRequest(http.MethodGet, "http://b/b", nil) // want `http\.NewRequest sends no context and loses the tag, request id and trace of ctx: make the request with http\.NewRequestWithContext`
	if err != nil {
		return err
	}
	if _, err := s.client.Do(req); err != nil {
		return err
	}
	if _, err := http.Get("http://b/b"); err != nil { // want `http\.Get sends no context`
		return err
	}
	if _, err := s.client.Post("http://b/b", "text/plain", strings.NewReader("")); err != nil { // want `s\.client\.Post sends no context`
		return err
	}
	if _, err := http.DefaultClient.PostForm("http://b/b", nil); err != nil { // want `http\.DefaultClient\.PostForm sends`
		return err
	}
	_, err = s.client.Head("http://b/b") // want `s\.client\.Head`
	return err
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	go func() {
		req, err := http.NewRequest(http.MethodGet, "http://b/b", nil) // want `of r\.Context\(\)`
		if err == nil {
			_, _ = s.client.Do(req)
		}
	}()
	_ = r.Header.Get("x-user-id") // another Get
	_ = w.Header().Get("x-user-id")
}

func given(ctx context.Context) error {
	req, err := http.NewRequest(http.MethodGet, "http://b/b", nil)
	if err != nil {
		return err
	}
	_, err = http.DefaultClient.Do(req.WithContext(ctx))
	return err
}

func cloned(ctx context.Context) error {
	var req, err = http.NewRequest(http.MethodGet, "http://b/b", nil)
	if err != nil {
		return err
	}
	req = req.Clone(ctx)
	_, err = http.DefaultClient.Do(req)
	return err
}

func with(ctx context.Context) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, "http://b/b", nil)
}

func meant(ctx context.Context) {
	_, _ = http.Get("http://metrics/") //graycheck:ignore no request's business
}

func outside() { _, _ = http.Get("http://b/b") }
