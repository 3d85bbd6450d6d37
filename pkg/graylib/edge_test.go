package graylib_test

import (
	"net/http"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// headerLines are headers as they stand on the wire: names in any case and form, several lines of a name.
type headerLines struct{ lines [][2]string }

func (h *headerLines) Names(yield func(string) bool) {
	for _, l := range h.lines {
		if !yield(l[0]) {
			return
		}
	}
}

func (h *headerLines) Remove(name string) {
	kept := h.lines[:0:0]
	for _, l := range h.lines {
		if !strings.EqualFold(l[0], name) {
			kept = append(kept, l)
		}
	}
	h.lines = kept
}

func (h *headerLines) Get(key string) string {
	for _, l := range h.lines {
		if strings.EqualFold(l[0], key) {
			return l[1]
		}
	}
	return ""
}

// Set replaces the first value alone, as the headers of some frameworks do.
func (h *headerLines) Set(key, value string) {
	if value == "" {
		h.Remove(key)
		return
	}
	for i, l := range h.lines {
		if strings.EqualFold(l[0], key) {
			h.lines[i][1] = value
			return
		}
	}
	h.lines = append(h.lines, [2]string{key, value})
}

// allValues adds Values.
type allValues struct{ headerLines }

func (h *allValues) Values(name string) (values []string) {
	for _, l := range h.lines {
		if strings.EqualFold(l[0], name) {
			values = append(values, l[1])
		}
	}
	return values
}

// httpHeaders is the stripper that an adapter of net/http makes.
type httpHeaders struct{ graylib.HeaderCarrier }

func (h httpHeaders) Names(yield func(string) bool) {
	for name := range h.HeaderCarrier {
		if !yield(name) {
			return
		}
	}
}
func (h httpHeaders) Remove(name string)          { http.Header(h.HeaderCarrier).Del(name) }
func (h httpHeaders) Values(name string) []string { return http.Header(h.HeaderCarrier).Values(name) }

func TestStripped(t *testing.T) {
	for _, name := range []string{
		"x-gray-tag", "X-Gray-Tag", "X-GRAY-TAG", "X_Gray_Tag", "x-gray_tag", " x-gray-tag", "x-gray-tag\t", "x-gray-reason", "x-gray-hops",
		"x-gray-messages", "x-request-id", "X_REQUEST_ID", "traceparent", "TraceParent", "tracestate", "gray_tag", "Gray-Tag", "GRAY_TAG",
		"gray_env", "gray-env", "gray_request_id", "GRAY_REQUEST_ID", "GRAY_REASON", "GRAY_HOPS", "gray-messages",
		"rpc-persist-gray-tag", "RPC_PERSIST_GRAY_TAG", "Rpc-Persist-Anything", "rpc-persist-", "rpc-transit-x", "RPC_TRANSIT_GRAY_REASON",
	} {
		if !graylib.Stripped(name) {
			t.Errorf("%q from outside is believed", name)
		}
	}
	for _, name := range []string{
		"", "x-gray", "x-gray-tags", "ax-gray-tag", "gray", "x-user-id", "cookie", "host", "baggage", "rpc-persist", "rpc-backward-x",
		"x-forwarded-for", "authorization", "_",
	} {
		if graylib.Stripped(name) {
			t.Errorf("%q is taken from clients", name)
		}
	}
}

func TestStrip(t *testing.T) {
	lines := func(l ...string) (lines [][2]string) {
		for i := 0; i < len(l); i += 2 {
			lines = append(lines, [2]string{l[i], l[i+1]})
		}
		return lines
	}
	in := func() [][2]string {
		return lines("Host", "h", "X-Gray-Tag", "gray", "x-gray-tag", "blue", "X_GRAY_TAG", "red", "rpc-persist-gray-tag", "gray",
			"Baggage", "a=1;p=q,gray-tag=gray", "accept", "*/*", "baggage", "gray-tag=blue , b=2", "tracestate", "x=y")
	}
	rt := newRuntime(t, baselineSelf)
	without := &headerLines{in()}
	if n := rt.Strip(without); n != 6 {
		t.Errorf("%d headers stripped, want 6", n)
	}
	if diff := cmp.Diff(lines("Host", "h", "accept", "*/*", "baggage", "a=1;p=q"), lowerBaggage(without.lines)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	with := &allValues{headerLines{in()}}
	rt.Strip(with)
	if diff := cmp.Diff(lines("Host", "h", "accept", "*/*", "baggage", "a=1;p=q, b=2"), lowerBaggage(with.lines)); diff != "" {
		t.Errorf("headers with Values (-want +got):\n%s", diff)
	}
	if n := rt.Status().StrippedHeaders; n != 12 {
		t.Errorf("%d headers counted, want 12", n)
	}
	second := &headerLines{lines("baggage", "a=1", "baggage", "gray-tag=gray")}
	rt.Strip(second)
	if diff := cmp.Diff(lines("baggage", "a=1"), second.lines); diff != "" {
		t.Errorf("our entry in a second baggage header (-want +got):\n%s", diff)
	}
	clean := &allValues{headerLines{lines("baggage", "a=1", "baggage", "b=2", "x-user", "u")}}
	if n := rt.Strip(clean); n != 0 {
		t.Errorf("%d headers stripped of a clean request", n)
	}
	if diff := cmp.Diff(lines("baggage", "a=1", "baggage", "b=2", "x-user", "u"), clean.lines); diff != "" {
		t.Errorf("a clean request was changed (-want +got):\n%s", diff)
	}
}

func lowerBaggage(lines [][2]string) [][2]string {
	for i := range lines {
		if strings.EqualFold(lines[i][0], "baggage") {
			lines[i][0] = "baggage"
		}
	}
	sort.SliceStable(lines, func(i, j int) bool { return lines[i][0] < lines[j][0] && lines[i][0] == "Host" })
	return lines
}

// TestNothingFromOutsideColours is G9 on random headers: after stripping, no spelling of ours is left, and nothing else is gone.
func TestNothingFromOutsideColours(t *testing.T) {
	ours := []string{"x-gray-tag", "gray_tag", "rpc-persist-gray-tag", "rpc-transit-gray-reason", "x-gray-reason", "traceparent", "x-request-id"}
	spelled := rapid.Custom(func(t *rapid.T) string {
		b := []byte(rapid.SampledFrom(ours).Draw(t, "name"))
		for i := range b {
			switch change := rapid.IntRange(0, 3).Draw(t, "change"); {
			case change == 1:
				b[i] = strings.ToUpper(string(b[i]))[0]
			case change == 2 && b[i] == '-':
				b[i] = '_'
			case change == 3 && b[i] == '_':
				b[i] = '-'
			}
		}
		return string(b)
	})
	rt := newRuntime(t, baselineSelf)
	rapid.Check(t, func(t *rapid.T) {
		h := http.Header{}
		own := map[string]bool{}
		for _, name := range rapid.SliceOf(spelled).Draw(t, "ours") {
			h.Add(name, "gray")
			own[http.CanonicalHeaderKey(name)] = true
		}
		others := rapid.SliceOf(rapid.StringMatching(`u-[a-z]{1,8}`)).Draw(t, "others")
		want := http.Header{}
		for _, name := range others {
			h.Add(name, "v")
			want.Add(name, "v")
		}
		n := rt.Strip(httpHeaders{graylib.HeaderCarrier(h)})
		if diff := cmp.Diff(want, h, cmpopts.EquateEmpty()); diff != "" || n != len(own) {
			t.Fatalf("%d of %d headers stripped (-want +got):\n%s", n, len(own), diff)
		}
	})
}

func TestEnter(t *testing.T) {
	c := graylib.MapCarrier{}
	graylib.Enter(graylib.HTTPKeys, c)
	if parent := c.Get(graylib.HTTPKeys.TraceParent); !strings.HasSuffix(parent, "-00") {
		t.Errorf("traceparent %q says that somebody has recorded it", parent)
	}
	id, parent := c["x-request-id"], c["traceparent"]
	if len(id) != 32 {
		t.Errorf("request id %q", id)
	}
	ctx, err := graylib.Extract(t.Context(), graylib.HTTPKeys, c)
	if err != nil || graylib.TraceIDFrom(ctx) == "" || graylib.RequestIDFrom(ctx) != id {
		t.Errorf("what Enter makes isn't well formed: %v, %v", c, err)
	}
	graylib.Enter(graylib.HTTPKeys, c)
	if diff := cmp.Diff(graylib.MapCarrier{"x-request-id": id, "traceparent": parent}, c); diff != "" {
		t.Errorf("a request that has both is changed (-want +got):\n%s", diff)
	}
	bad := graylib.MapCarrier{"x-request-id": "a\nb", "traceparent": "00-x", "tracestate": "a=b"}
	graylib.Enter(graylib.HTTPKeys, bad)
	if bad["x-request-id"] == "a\nb" || bad["traceparent"] == "00-x" || bad["tracestate"] != "" {
		t.Errorf("malformed values stay: %v", bad)
	}
}
