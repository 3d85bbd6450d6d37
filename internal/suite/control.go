package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/graychain/graychain/internal/observer"
)

// JudgeRequest is the body of POST /v1/judge.
type JudgeRequest struct {
	RequestID string   `json:"requestId"`
	Request   Request  `json:"request"`
	Wait      Duration `json:"wait"`
}

// Duration is a duration that reads and writes as text in JSON: "10s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// handler is the observer's interface, and beside it what other processes ask of a suite that runs:
//
//	GET  /v1/suite   Info
//	POST /v1/judge   JudgeRequest in, Judged out: waits until the loop is complete
func (s *Suite) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", observer.Handler(s.store))
	mux.HandleFunc("GET /v1/suite", func(w http.ResponseWriter, _ *http.Request) { observer.Reply(w, http.StatusOK, s.Info()) })
	mux.HandleFunc("POST /v1/judge", func(w http.ResponseWriter, r *http.Request) {
		var in JudgeRequest
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&in)
		switch wait := time.Duration(in.Wait); {
		case err != nil:
			observer.Fail(w, http.StatusBadRequest, fmt.Errorf("malformed question: %w", err))
			return
		case in.RequestID == "":
			observer.Fail(w, http.StatusBadRequest, errors.New("requestId is missing"))
			return
		case wait < 0 || wait > observer.MaxWait:
			observer.Fail(w, http.StatusBadRequest, fmt.Errorf("wait %s: want 0s to %s", wait, observer.MaxWait))
			return
		}
		judged, err := s.Judge(r.Context(), in.Request, in.RequestID, time.Duration(in.Wait))
		if err != nil {
			observer.Fail(w, http.StatusBadGateway, err)
			return
		}
		observer.Reply(w, http.StatusOK, judged)
	})
	return mux
}

// Client asks a suite that runs in another process.
type Client struct {
	info Info
	http *http.Client
}

// NewClient returns a client of the suite that [Find] found.
func NewClient(info Info) *Client {
	return &Client{info: info, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
}

// Close frees the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Info asks the suite what it is now.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.info.Observer+"/v1/suite", nil)
	if err == nil {
		err = c.ask(req, &info)
	}
	return info, err
}

// Send sends a request to the suite's gateway.
func (c *Client) Send(ctx context.Context, r Request) (Answer, error) {
	if c.info.Gateway == "" {
		return Answer{}, fmt.Errorf("%w that has a gateway: it is still starting", ErrNotRunning)
	}
	return Do(ctx, c.http, c.info.Gateway, r)
}

// Judge asks the suite to wait for the loop of a request that was sent, and to judge it.
func (c *Client) Judge(ctx context.Context, r Request, requestID string, patience time.Duration) (Judged, error) {
	var judged Judged
	body, err := json.Marshal(JudgeRequest{RequestID: requestID, Request: r, Wait: Duration(patience)})
	if err != nil {
		return judged, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.info.Observer+"/v1/judge", bytes.NewReader(body))
	if err == nil {
		err = c.ask(req, &judged)
	}
	return judged, err
}

// ErrAsk is wrapped where a suite could not answer.
var ErrAsk = errors.New("the suite did not answer")

func (c *Client) ask(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAsk, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16*maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAsk, err)
	}
	if resp.StatusCode != http.StatusOK {
		var fail struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &fail) == nil && fail.Error != "" {
			return fmt.Errorf("%w: %s", ErrAsk, fail.Error)
		}
		return fmt.Errorf("%w: status %d: %q", ErrAsk, resp.StatusCode, clip(string(body), 200))
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%w: %w", ErrAsk, err)
	}
	return nil
}

// Gateway returns the base URL of the suite's gateway; "" where there is none yet.
func (c *Client) Gateway() string { return c.info.Gateway }
