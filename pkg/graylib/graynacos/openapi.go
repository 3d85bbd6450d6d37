package graynacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"

	"github.com/graychain/graychain/pkg/graylib"
)

// The stock client knows nothing of a document's history; Nacos's HTTP API does. Its 3.x (admin API, on the server's own
// port) and 2.x (open API v2) forms are tried one after the other:
// https://nacos.io/docs/latest/manual/admin/admin-api/ and https://nacos.io/docs/v2.4/manual/user/open-api/.

// maxReply bounds an answer: a page of a list, or one document ([maxDocument]) with what JSON makes of it.
const maxReply = 2*maxDocument + 1<<20

// errNoAPI is what a server without the path answers: 404, or 410 for one that was switched off.
var errNoAPI = errors.New("no such API")

// openAPI asks one cluster over HTTP. It is for one command, and not safe for concurrent use.
type openAPI struct {
	cluster *cluster
	client  *http.Client
	token   string
	v2      bool // the 3.x form is not there
}

func newOpenAPI(c *cluster) *openAPI {
	return &openAPI{cluster: c, client: &http.Client{Timeout: c.timeout, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, // a command ends soon
	}}}
}

// get asks for path3 (3.x) or path2 (2.x) and reads the answer's data into out. The parameters' names are 3.x's.
func (a *openAPI) get(ctx context.Context, path3, path2 string, query url.Values, out any) error {
	if err := a.login(ctx); err != nil {
		return err
	}
	if !a.v2 {
		err := a.request(ctx, http.MethodGet, path3, query, nil, out)
		if !errors.Is(err, errNoAPI) {
			return err
		}
	}
	old := url.Values{}
	for k, v := range query {
		if k == "groupName" {
			k = "group"
		}
		old[k] = v
	}
	err := a.request(ctx, http.MethodGet, path2, old, nil, out)
	if errors.Is(err, errNoAPI) {
		return fmt.Errorf("nacos %s %w: it has neither %s (3.x) nor %s (2.2 and later)", a.cluster, ErrRefused, path3, path2)
	}
	a.v2 = a.v2 || err == nil
	return err
}

// login gets a token where there is a user.
func (a *openAPI) login(ctx context.Context) error {
	if a.cluster.username == "" || a.token != "" {
		return nil
	}
	form := url.Values{"username": {a.cluster.username}, "password": {a.cluster.password}}
	var last error
	for _, path := range []string{"/nacos/v3/auth/user/login", "/nacos/v1/auth/users/login"} {
		var answer struct {
			AccessToken string `json:"accessToken"`
		}
		last = a.request(ctx, http.MethodPost, path, nil, form, &answer)
		if last == nil && answer.AccessToken == "" {
			last = fmt.Errorf("nacos %s %w: %s answers without a token", a.cluster, ErrRefused, path)
		}
		if last == nil {
			a.token = answer.AccessToken
			return nil
		}
		if !errors.Is(last, errNoAPI) {
			return last
		}
	}
	return fmt.Errorf("nacos %s %w: %s is set, but it has no login", a.cluster, ErrRefused, graylib.EnvNacosUsername)
}

// request asks the servers one after the other until one answers.
func (a *openAPI) request(ctx context.Context, method, path string, query, form url.Values, out any) error {
	var last error
	for _, s := range a.cluster.servers {
		answered, err := a.ask(ctx, s, method, path, query, form, out)
		if answered {
			return err
		}
		last = err
	}
	return a.cluster.unreachable(last)
}

func (a *openAPI) ask(ctx context.Context, s constant.ServerConfig, method, path string, query, form url.Values, out any) (answered bool, err error) {
	u := "http://" + s.IpAddr + ":" + strconv.FormatUint(s.Port, 10) + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return false, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if a.token != "" {
		req.Header.Set("accessToken", a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var about *url.Error // its text would have the query
		if errors.As(err, &about) {
			err = about.Err
		}
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return false, err
	case len(reply) > maxReply:
		return true, fmt.Errorf("nacos %s %w: %s answers more than %d bytes", a.cluster, ErrRefused, path, maxReply)
	}
	return true, a.judge(resp.StatusCode, path, reply, out)
}

// judge reads an answer: {"code": 0, "message": "success", "data": …}, or of a login the data alone.
func (a *openAPI) judge(status int, path string, reply []byte, out any) error {
	var answer struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(reply, &answer)
	switch {
	case status == http.StatusGone, status == http.StatusNotFound && (err != nil || answer.Code == 0):
		return errNoAPI
	case status != http.StatusOK || err != nil || answer.Code != 0:
		why := answer.Message
		var detail string
		if json.Unmarshal(answer.Data, &detail) == nil && detail != "" {
			why += ": " + detail
		}
		if why == "" {
			why = string(reply[:min(len(reply), 200)])
		}
		return fmt.Errorf("nacos %s %w: %s answers %d: %s", a.cluster, ErrRefused, path, status, oneLine(errors.New(why)))
	}
	data := []byte(answer.Data)
	if answer.Message == "" && answer.Data == nil {
		data = reply
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("nacos %s %w: %s: %w", a.cluster, ErrRefused, path, err)
	}
	return nil
}

// number is a number that 2.x writes as such and 3.x in quotes.
type number string

// UnmarshalJSON implements [json.Unmarshaler].
func (n *number) UnmarshalJSON(b []byte) error {
	*n = number(strings.Trim(string(b), `"`))
	return nil
}

// moment is a time: 3.x writes milliseconds, 2.x a text, in whatever form its JSON library was set to.
type moment struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler]. What can't be read is no time.
func (m *moment) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		m.Time = time.UnixMilli(ms)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			m.Time = t
			return nil
		}
	}
	return nil
}
