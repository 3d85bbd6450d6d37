package grayhttp_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// A service b with a baseline and a lane, and a caller a: what the handlers do knows nothing of tags.
func Example() {
	registry := graylibtest.NewRegistry()
	runtime := func(service string, tag graylib.Tag) *graylib.Runtime {
		id := graylib.Identity{Service: service, Tag: tag}
		rt, err := graylib.New(id, graylib.WithRegistry(registry.As(id)), graylib.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			panic(err)
		}
		return rt
	}
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "b"+string(tag)) })
		srv := httptest.NewServer(grayhttp.Handler(handler, grayhttp.WithRuntime(runtime("b", tag))))
		defer srv.Close()
		registry.Put(graylib.Instance{Service: "b", Addr: srv.Listener.Addr().String(), Tag: tag})
	}

	a := runtime("a", graylib.Untagged)
	client := &http.Client{Transport: grayhttp.Transport(&http.Transport{}, grayhttp.WithRuntime(a))}
	defer client.CloseIdleConnections()
	handler := grayhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://b/", nil)
		resp, err := client.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.WriteString(w, "a -> ")
		_, _ = io.Copy(w, resp.Body)
	}), grayhttp.WithRuntime(a))

	for _, tag := range []string{"", "gray", "blue"} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("x-gray-tag", tag)
		handler.ServeHTTP(w, r)
		fmt.Printf("%-6q %s\n", tag, w.Body)
	}
	// Output:
	// ""     a -> b
	// "gray" a -> bgray
	// "blue" a -> b
}
