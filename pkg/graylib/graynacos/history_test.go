package graynacos

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
)

// The answers of this file's servers are those of real ones: 3.1.0's were recorded, 2.x's are as its source and docs say.

func serverConfig(t *testing.T, ts *httptest.Server) constant.ServerConfig {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(ts.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return constant.ServerConfig{IpAddr: host, Port: n}
}

// historyServer is a Nacos of one version that asks for a login where user is set.
func historyServer(t *testing.T, v3 bool, user string) (*Client, *[]string) {
	t.Helper()
	var asked []string
	mux := http.NewServeMux()
	allowed := func(w http.ResponseWriter, r *http.Request) bool {
		asked = append(asked, r.URL.Path)
		if user != "" && r.Header.Get("accessToken") != "token" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"code":10001,"message":"access denied","data":"token invalid"}`)
			return false
		}
		q := r.URL.Query()
		group := q.Get("groupName")
		if !v3 {
			group = q.Get("group")
		}
		if q.Get("dataId") != graylib.RulesDataID || group != graylib.RulesGroup || q.Get("namespaceId") != "ns" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"code":20002,"message":"parameter validate error","data":"%s"}`, url.QueryEscape(r.URL.RawQuery))
			return false
		}
		return true
	}
	contents := map[string]string{"7": "revision: 1\n", "9": "revision: 1\n", "10": "revision: 2\n", "11": "lanes: x\n"}
	list, item, login := historyList2, historyItem2, "/nacos/v1/auth/users/login"
	row := `{"id":%s,"lastId":-1,"dataId":"graychain.yaml","group":"GRAYCHAIN","tenant":"ns","md5":null,"content":%s,"srcIp":"10.0.0.1","srcUser":"nacos","opType":"%-10s","createdTime":"2010-05-04T16:00:00.000+00:00","lastModifiedTime":"2026-11-22T10:00:%02d.000+00:00"}`
	if v3 {
		list, item, login = historyList3, historyItem3, "/nacos/v3/auth/user/login"
		row = `{"id":"%s","namespaceId":"ns","groupName":"GRAYCHAIN","dataId":"graychain.yaml","md5":null,"content":%s,"srcIp":"10.0.0.1","srcUser":"nacos","opType":"%-10s","publishType":"formal","createTime":1273017600000,"modifyTime":17953416%02d000}`
	} else {
		gone := func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprint(w, `{"timestamp":"2026-11-22T07:33:37.925+00:00","status":404,"error":"Not Found","path":"/nacos/v3"}`)
		}
		mux.HandleFunc("/nacos/v3/", gone)
	}
	write := func(id, op string, second int, content bool) string {
		text := "null"
		if content {
			b, _ := json.Marshal(contents[id])
			text = string(b)
		}
		return fmt.Sprintf(row, id, text, op, second)
	}
	ops := []struct{ id, op string }{{"7", "I"}, {"9", "U"}, {"10", "D"}, {"11", "I"}}
	mux.HandleFunc("GET "+list, func(w http.ResponseWriter, r *http.Request) {
		if !allowed(w, r) {
			return
		}
		var rows []string
		for i := len(ops) - 1; i >= 0; i-- {
			rows = append(rows, write(ops[i].id, ops[i].op, i, false))
		}
		_, _ = fmt.Fprintf(w, `{"code":0,"message":"success","data":{"totalCount":4,"pageNumber":1,"pagesAvailable":1,"pageItems":[%s]}}`, strings.Join(rows, ","))
	})
	mux.HandleFunc("GET "+item, func(w http.ResponseWriter, r *http.Request) {
		if !allowed(w, r) {
			return
		}
		for i, o := range ops {
			if o.id == r.URL.Query().Get("nid") {
				_, _ = fmt.Fprintf(w, `{"code":0,"message":"success","data":%s}`, write(o.id, o.op, i, true))
			}
		}
	})
	mux.HandleFunc("POST "+login, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.FormValue("username") != user || r.FormValue("password") != "secret" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"code":403,"message":"unknown user!","data":null}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"accessToken":"token","tokenTtl":18000,"globalAdmin":true,"username":"nacos"}`)
	})
	ts := httptest.NewServer(mux)
	t.Cleanup(ts.Close)
	cl := &cluster{servers: []constant.ServerConfig{serverConfig(t, ts)}, namespace: "ns", username: user, password: "secret", timeout: 3 * time.Second}
	return &Client{cluster: cl, opts: newOptions(nil), client: &fakeConfig{content: "lanes: x\n"}}, &asked
}

func TestHistory(t *testing.T) {
	for _, tt := range []struct {
		name string
		v3   bool
		user string
	}{{"3.x", true, ""}, {"2.x", false, ""}, {"3.x with a user", true, "nacos"}, {"2.x with a user", false, "nacos"}} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := historyServer(t, tt.v3, tt.user)
			history, err := c.History(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			second := func(n int) time.Time {
				if tt.v3 {
					return time.UnixMilli(1795341600000 + int64(n)*1000).UTC()
				}
				return time.Date(2026, 11, 22, 10, 0, n, 0, time.UTC)
			}
			by := "nacos@10.0.0.1"
			want := []rules.Version{
				{ID: "11", Content: []byte("lanes: x\n"), At: second(3), By: by},
				{ID: "10", At: second(2), By: by, Problem: "the document is empty or was deleted"},
				{ID: "9", Content: []byte("revision: 2\n"), At: second(1), By: by, Revision: 2},
				{ID: "7", Content: []byte("revision: 1\n"), At: second(0), By: by, Revision: 1},
			}
			if !strings.HasPrefix(history[0].Problem, "line 1: lanes: ") {
				t.Errorf("what is broken: %q", history[0].Problem)
			}
			history[0].Problem = ""
			if diff := cmp.Diff(want, history); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
		})
	}
}

// What is older than Nacos's history is told without a time, and a list that was cut off doesn't pretend to be whole.
func TestVersionsWithoutABeginning(t *testing.T) {
	changes := []change{{ID: "5", OpType: "U", Content: "revision: 4\n"}}
	for limit, want := range map[int]int{500: 2, 1: 1} {
		got := versions([]byte("revision: 5\n"), changes, limit)
		if len(got) != want || got[0].Revision != 5 || want == 2 && (got[1].Revision != 4 || !got[1].At.IsZero()) {
			t.Errorf("limit %d: %+v", limit, got)
		}
	}
	if got := versions(nil, nil, 500); len(got) != 0 {
		t.Errorf("nothing was ever published: %+v", got)
	}
	if got := versions([]byte("revision: 5\n"), nil, 500); len(got) != 1 || got[0].Revision != 5 {
		t.Errorf("Nacos has forgotten how it came: %+v", got)
	}
}

func TestHistoryRefused(t *testing.T) {
	wrong, _ := historyServer(t, true, "nacos")
	wrong.cluster.password = "guessed"
	none := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(none.Close)
	old := &Client{cluster: &cluster{servers: []constant.ServerConfig{serverConfig(t, none)}, timeout: time.Second}, opts: newOptions(nil), client: &fakeConfig{}}
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	gone := &Client{cluster: &cluster{servers: []constant.ServerConfig{serverConfig(t, away)}, timeout: time.Second}, opts: newOptions(nil), client: &fakeConfig{}}
	for name, tt := range map[string]struct {
		client *Client
		err    error
		text   string
	}{
		"a wrong password": {wrong, ErrRefused, "answers 403: unknown user!"},
		"too old":          {old, ErrRefused, "it has neither /nacos/v3/admin/cs/history/list (3.x) nor /nacos/v2/cs/history/list (2.2 and later)"},
		"away":             {gone, ErrUnreachable, "connection refused"},
	} {
		_, err := tt.client.History(t.Context(), 0)
		if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "guessed") {
			t.Errorf("%s: %v, want %v with %q in one line", name, err, tt.err, tt.text)
		}
	}
}

// With a real server: what was published comes back, newest first, and the instances that were registered.
func TestLiveHistoryAndInstances(t *testing.T) {
	config := graylib.Config{NacosAddr: testenv.Nacos(t)}
	dataID := unique("history") + ".yaml"
	client, err := Dial(t.Context(), config, slog.New(slog.DiscardHandler), WithRulesDocument(dataID, "GRAYCHAIN"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	for i := range 3 {
		if _, err := rules.Apply(t.Context(), client, []byte(fmt.Sprintf("# %d\nlanes: [{tag: gray}]\n", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		history, err := client.History(t.Context(), 0)
		if err != nil {
			return err
		}
		var got []int64
		for _, v := range history {
			got = append(got, v.Revision)
			if time.Since(v.At).Abs() > time.Minute {
				return fmt.Errorf("revision %d at %v", v.Revision, v.At)
			}
		}
		if diff := cmp.Diff([]int64{0, 3, 2, 1}, got); diff != "" {
			return fmt.Errorf("revisions (-want +got):\n%s", diff)
		}
		return nil
	})
	if _, err := rules.Apply(t.Context(), client, []byte("revision: 7\nlanes: []\n")); !errors.Is(err, rules.ErrLane) {
		t.Errorf("a file without the lane after the deletion: %v, want ErrLane", err)
	}
	result, err := rules.Rollback(t.Context(), client, 2)
	if err != nil || result.Revision != 4 || !strings.HasPrefix(string(result.Content), "# 1\n") {
		t.Errorf("rollback of a deleted document: %+v, %v", result, err)
	}
}
