package graylib_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

var (
	keyOne = graylib.TrustKey{ID: "k1", Secret: []byte(strings.Repeat("1", 32))}
	keyTwo = graylib.TrustKey{ID: "k2", Secret: []byte(strings.Repeat("2", 40))}
)

// gateway is a runtime at the edge whose rules list the lanes gray and blue, and have retired old.
func gateway(t testing.TB, opts ...graylib.Option) *graylib.Runtime {
	return newRuntime(t, baselineSelf, append([]graylib.Option{quiet(), testRules{lanes: []graylib.Lane{
		{Tag: "gray", State: graylib.LaneActive}, {Tag: "blue", State: graylib.LaneActive}, {Tag: "old", State: graylib.LaneRetired},
	}}.option()}, opts...)...)
}

// admitted is the tag of a request from outside behind the edge.
func admitted(rt *graylib.Runtime, h http.Header, from graylib.Outside) graylib.Tag {
	c := httpHeaders{graylib.HeaderCarrier(h)}
	rt.Admit(c, from)
	return arrivedTag(rt, graylib.HTTPKeys, c)
}

func sign(t testing.TB, key graylib.TrustKey, s graylib.SignedTag, at time.Time) string {
	t.Helper()
	token, err := graylib.SignTag(key, s, at)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// resigned makes a token of any fields with a good signature.
func resigned(key graylib.TrustKey, head string) string {
	mac := hmac.New(sha256.New, key.Secret)
	fmt.Fprintf(mac, "graychain signed tag\n%s\n\n\n", head)
	return head + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// respelled ends a token's base64 with bits that a lenient decoder throws away.
func respelled(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])+1])
}

func TestSignedTag(t *testing.T) {
	now := time.Now()
	get := graylib.Outside{Peer: "203.0.113.9", Method: "GET", Path: "/A/dubbo"}
	gray := graylib.SignedTag{Tag: "gray"}
	good := sign(t, keyOne, gray, now)
	unix := now.Unix()
	for _, tt := range []struct {
		name, token string
		from        graylib.Outside
		want        graylib.Tag
		why         string
	}{
		{"good", good, get, "gray", ""},
		{"the other key", sign(t, keyTwo, gray, now), get, "gray", ""},
		{"signed by a clock ahead", sign(t, keyOne, gray, now.Add(20*time.Second)), get, "gray", ""},
		{"just over, by a clock behind", sign(t, keyOne, graylib.SignedTag{Tag: "gray", TTL: time.Second}, now.Add(-20*time.Second)), get, "gray", ""},
		{"bound to the request", sign(t, keyOne, graylib.SignedTag{Tag: "gray", Method: "GET", Path: "/A/dubbo"}, now), get, "gray", ""},
		{"bound to another path", sign(t, keyOne, graylib.SignedTag{Tag: "gray", Method: "GET", Path: "/A/a"}, now), get, "", "wrong signature"},
		{"bound to another method", sign(t, keyOne, graylib.SignedTag{Tag: "gray", Method: "POST", Path: "/A/dubbo"}, now), get, "", "wrong signature"},
		{"a bound one declared as for any", strings.Replace(sign(t, keyOne, graylib.SignedTag{Tag: "gray", Method: "GET", Path: "/A/dubbo"}, now), ".req.", ".any.", 1), get, "", "wrong signature"},
		{"expired", sign(t, keyOne, gray, now.Add(-2*time.Minute)), get, "", "expired"},
		{"from the future", sign(t, keyOne, gray, now.Add(time.Minute)), get, "", "not yet valid"},
		{"another tag put in", strings.Replace(good, ".gray.", ".blue.", 1), get, "", "wrong signature"},
		{"a longer life put in", strings.Replace(good, fmt.Sprint(unix+60), fmt.Sprint(unix+240), 1), get, "", "wrong signature"},
		{"another key's id put in", strings.Replace(good, ".k1.", ".k2.", 1), get, "", "wrong signature"},
		{"an unknown key", strings.Replace(good, ".k1.", ".k3.", 1), get, "", "unknown key"},
		{"cut off", good[:len(good)-3], get, "", "wrong signature"},
		{"another spelling of the signature", respelled(good), get, "", "malformed"},
		{"no token", "gray", get, "", "malformed"},
		{"a longer one", good + strings.Repeat("A", 256), get, "", "malformed"},
		{"another version", strings.Replace(good, "v1.", "v2.", 1), get, "", "malformed"},
		{"a lane that isn't listed", sign(t, keyOne, graylib.SignedTag{Tag: "green"}, now), get, "", "lane not listed or retired"},
		{"a retired lane", sign(t, keyOne, graylib.SignedTag{Tag: "old"}, now), get, "", "lane not listed or retired"},
		{"signed for too long", resigned(keyOne, fmt.Sprintf("v1.k1.gray.%d.%d.any", unix, unix+301)), get, "", "malformed"},
		{"signed for no time", resigned(keyOne, fmt.Sprintf("v1.k1.gray.%d.%d.any", unix, unix)), get, "", "malformed"},
		{"signed with a time that overflows", resigned(keyOne, fmt.Sprintf("v1.k1.gray.%d.9999999999999999999.any", unix)), get, "", "malformed"},
		{"signed with a malformed tag", resigned(keyOne, fmt.Sprintf("v1.k1.Gray.%d.%d.any", unix, unix+60)), get, "", "malformed tag"},
		{"signed without a tag", resigned(keyOne, fmt.Sprintf("v1.k1..%d.%d.any", unix, unix+60)), get, "", "malformed tag"},
		{"signed with another scope", resigned(keyOne, fmt.Sprintf("v1.k1.gray.%d.%d.all", unix, unix+60)), get, "", "malformed"},
		{"a good one of our own making", resigned(keyOne, fmt.Sprintf("v1.k1.gray.%d.%d.any", unix, unix+60)), get, "gray", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := gateway(t, graylib.WithTrust([]graylib.TrustKey{keyOne, keyTwo}))
			h := http.Header{"X-Gray-Signed-Tag": {tt.token}, "X-Gray-Tag": {"blue"}, "X-Request-Id": {"forged"}}
			if got := admitted(rt, h, tt.from); got != tt.want {
				t.Errorf("tag %q, want %q", got, tt.want)
			}
			if h.Get("x-gray-signed-tag") != "" || h.Get("x-request-id") == "forged" {
				t.Errorf("left: %v", h)
			}
			s := rt.Status().Trust
			want := &graylib.TrustStatus{Signed: 1}
			if tt.why != "" {
				want = &graylib.TrustStatus{Refused: map[string]int64{tt.why: 1}}
			}
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSignedTagWithoutKeys(t *testing.T) {
	token := sign(t, keyOne, graylib.SignedTag{Tag: "gray"}, time.Now())
	for name, rt := range map[string]*graylib.Runtime{
		"nothing is trusted": gateway(t), "networks alone are": gateway(t, graylib.WithTrust(nil, netip.MustParsePrefix("10.0.0.0/8"))),
	} {
		h := http.Header{"X-Gray-Signed-Tag": {token}}
		if got := admitted(rt, h, graylib.Outside{Peer: "203.0.113.9"}); got != "" || h.Get("x-gray-signed-tag") != "" {
			t.Errorf("%s: tag %q, headers %v", name, got, h)
		}
	}
}

func TestKeysRotate(t *testing.T) {
	now := time.Now()
	one, two := sign(t, keyOne, graylib.SignedTag{Tag: "gray"}, now), sign(t, keyTwo, graylib.SignedTag{Tag: "gray"}, now)
	for _, tt := range []struct {
		name     string
		keys     []graylib.TrustKey
		one, two graylib.Tag
	}{
		{"before", []graylib.TrustKey{keyOne}, "gray", ""},
		{"while", []graylib.TrustKey{keyOne, keyTwo}, "gray", "gray"},
		{"after", []graylib.TrustKey{keyTwo}, "", "gray"},
	} {
		rt := gateway(t, graylib.WithTrust(tt.keys))
		for token, want := range map[string]graylib.Tag{one: tt.one, two: tt.two} {
			if got := admitted(rt, http.Header{"X-Gray-Signed-Tag": {token}}, graylib.Outside{}); got != want {
				t.Errorf("%s: %.6s… gives %q, want %q", tt.name, token, got, want)
			}
		}
	}
}

func TestTrustedNetworks(t *testing.T) {
	networks := []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::ffff:192.0.2.0/120"),
	}
	for _, tt := range []struct {
		peer string
		in   bool
	}{
		{"10.1.2.3", true}, {"::ffff:10.1.2.3", true}, {"10.2.0.1", false}, {"fd12::1", true}, {"fd12::1%eth0", true}, {"fe80::1", false},
		{"192.0.2.7", true}, {"192.0.3.7", false}, {"", false}, {"localhost", false}, {"10.1.2.3:80", false}, {"@", false},
	} {
		rt := gateway(t, graylib.WithTrust(nil, networks...))
		h := http.Header{
			"X-Gray-Tag": {"gray"}, "X-Request-Id": {"theirs"}, "Traceparent": {goodTrace}, "X-Gray-Reason": {"lane"}, "Rpc-Persist-Gray-Tag": {"blue"},
			// Whatever the proxy in front says of the client's address decides nothing here.
			"X-Forwarded-For": {"10.1.2.3"},
		}
		got := admitted(rt, h, graylib.Outside{Peer: tt.peer})
		if kept := h.Get("x-request-id") == "theirs" && h.Get("traceparent") == goodTrace; (got == "gray") != tt.in || kept != tt.in {
			t.Errorf("peer %q: tag %q, headers %v", tt.peer, got, h)
		}
		if h.Get("x-gray-reason") != "" || h.Get("rpc-persist-gray-tag") != "" {
			t.Errorf("peer %q: left %v", tt.peer, h)
		}
	}
	rt := gateway(t, graylib.WithTrust([]graylib.TrustKey{keyOne}, networks...), graylib.WithBaggage(), graylib.WithPresets("mse"))
	ours := graylib.Outside{Peer: "10.1.2.3"}
	for name, h := range map[string]http.Header{
		"baggage": {"Baggage": {"a=1,gray-tag=gray"}}, "preset": {"X-Mse-Tag": {"gray"}}, "own": {"X-Gray-Tag": {"gray"}},
		"signature over another tag": {"X-Gray-Tag": {"blue"}, "X-Gray-Signed-Tag": {sign(t, keyOne, graylib.SignedTag{Tag: "gray"}, time.Now())}},
	} {
		if got := admitted(rt, h.Clone(), ours); got != "gray" {
			t.Errorf("%s of a trusted peer gives %q", name, got)
		}
		if got := admitted(rt, h.Clone(), graylib.Outside{Peer: "203.0.113.9"}); got != "" && !strings.HasPrefix(name, "signature") {
			t.Errorf("%s of anybody gives %q (G9)", name, got)
		}
	}
	for tag, why := range map[string]string{"green": "lane not listed or retired", "old": "lane not listed or retired", "Gray!": "malformed tag"} {
		before := rt.Status().Trust.Refused[why]
		if got := admitted(rt, http.Header{"X-Gray-Tag": {tag}}, ours); got != "" || rt.Status().Trust.Refused[why] != before+1 {
			t.Errorf("tag %q of a trusted peer gives %q, counted %v", tag, got, rt.Status().Trust)
		}
	}
}

func TestSignTagRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		key  graylib.TrustKey
		s    graylib.SignedTag
		want string
	}{
		"no tag":               {keyOne, graylib.SignedTag{}, "tag"},
		"malformed tag":        {keyOne, graylib.SignedTag{Tag: "Gray"}, `"Gray"`},
		"long life":            {keyOne, graylib.SignedTag{Tag: "gray", TTL: 5*time.Minute + time.Second}, "5m0s"},
		"part of a second":     {keyOne, graylib.SignedTag{Tag: "gray", TTL: time.Millisecond}, "1s"},
		"path without method":  {keyOne, graylib.SignedTag{Tag: "gray", Path: "/a"}, "both or none"},
		"path with a query":    {keyOne, graylib.SignedTag{Tag: "gray", Method: "GET", Path: "/a?b"}, "query"},
		"short key":            {graylib.TrustKey{ID: "k", Secret: []byte("short")}, graylib.SignedTag{Tag: "gray"}, "32"},
		"key id with a dot":    {graylib.TrustKey{ID: "k.1", Secret: keyOne.Secret}, graylib.SignedTag{Tag: "gray"}, "k.1"},
		"method with new line": {keyOne, graylib.SignedTag{Tag: "gray", Method: "GET\n/b", Path: "/a"}, "method"},
	} {
		_, err := graylib.SignTag(tt.key, tt.s, time.Now())
		if !errors.Is(err, graylib.ErrInvalidSignedTag) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStrippedByName(t *testing.T) {
	rt := gateway(t, graylib.WithPresets("mse", "sermant=x-lane"))
	h := http.Header{
		"X-Gray-Tag": {"gray", "blue"}, "X_gray_tag": {"gray"}, "X-Mse-Tag": {"gray"}, "X-Lane": {"gray"}, "Service-Lane": {"a/b"},
		"Rpc-Persist-Gray-Tag": {"gray"}, "Rpc-Persist-Other": {"x"}, "Rpc-Transit-X": {"x"}, "Baggage": {"gray-tag=gray"}, "X-User": {"u"},
		"__microservice_tag__": {"x"},
	}
	rt.Admit(httpHeaders{graylib.HeaderCarrier(h)}, graylib.Outside{})
	want := map[string]int64{
		"x-gray-tag": 2, "x-mse-tag": 1, "x-lane": 1, "rpc-persist-*": 2, "rpc-transit-*": 1, "baggage gray-tag": 1, "--microservice-tag--": 1,
	}
	if diff := cmp.Diff(want, rt.Status().Stripped); diff != "" {
		t.Errorf("stripped by name (-want +got):\n%s", diff)
	}
	delete(h, "X-Request-Id")
	delete(h, "Traceparent")
	if diff := cmp.Diff(http.Header{"Service-Lane": {"a/b"}, "X-User": {"u"}}, h); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// rawHeaders takes names as they stand in the map, as grayhttp does.
type rawHeaders struct{ graylib.HeaderCarrier }

func (h rawHeaders) Names(yield func(string) bool) {
	for name := range h.HeaderCarrier {
		if !yield(name) {
			return
		}
	}
}

func (h rawHeaders) Remove(name string) { delete(h.HeaderCarrier, name) }

// FuzzAdmit is G9: whatever a client sends, an untrusted request gets in without a tag, and with a well-formed id and trace.
func FuzzAdmit(f *testing.F) {
	rt := gateway(f, graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes", "sermant=x-lane", "joylive=1"),
		graylib.WithTrust([]graylib.TrustKey{keyOne}, netip.MustParsePrefix("10.0.0.0/8")))
	f.Fuzz(func(t *testing.T, name, value, second, signed, peer string) {
		if a, err := netip.ParseAddr(peer); err == nil && netip.MustParsePrefix("10.0.0.0/8").Contains(a.Unmap()) {
			t.Skip("a trusted peer")
		}
		h := http.Header{}
		h[name] = []string{value, second}
		h.Add("x-gray-signed-tag", signed)
		h.Add("baggage", value)
		h.Add("baggage", second)
		h.Add("x-mse-tag", value)
		c := rawHeaders{graylib.HeaderCarrier(h)}
		rt.Admit(c, graylib.Outside{Peer: peer, Method: value, Path: second})
		ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, c)
		if tag := graylib.TagFrom(ctx); tag != graylib.Untagged {
			t.Fatalf("broke G9 trust: a client's word coloured a request %q: %v", tag, h)
		}
		if graylib.RequestIDFrom(ctx) == "" || graylib.TraceIDFrom(ctx) == "" {
			t.Fatalf("no id or trace: %v", h)
		}
		for left := range h {
			if graylib.Stripped(left) && left != "X-Request-Id" && left != "Traceparent" {
				t.Fatalf("%q is left", left)
			}
		}
	})
}

// FuzzSignedTag: no token but one that SignTag made opens the edge, and every one that it made does.
func FuzzSignedTag(f *testing.F) {
	rt := gateway(f, graylib.WithTrust([]graylib.TrustKey{keyOne}))
	f.Fuzz(func(t *testing.T, token, method, path string, flip uint16) {
		from := graylib.Outside{Method: method, Path: path}
		if got := admitted(rt, http.Header{"X-Gray-Signed-Tag": {token}}, from); got != "" {
			t.Fatalf("token %q gives %q", token, got)
		}
		s := graylib.SignedTag{Tag: "gray", Method: method, Path: path}
		good, err := graylib.SignTag(keyOne, s, time.Now())
		if err != nil {
			return
		}
		if got := admitted(rt, http.Header{"X-Gray-Signed-Tag": {good}}, from); got != "gray" {
			t.Fatalf("signed for %q %q: got %q", method, path, got)
		}
		bad := []byte(good)
		i := int(flip>>3) % len(bad)
		bad[i] ^= 1 << (flip & 7)
		if got := admitted(rt, http.Header{"X-Gray-Signed-Tag": {string(bad)}}, from); got != "" {
			t.Fatalf("a changed token is taken: %q for %q", bad, good)
		}
	})
}

// FuzzReadOthers: whatever stands in baggage and presets, the tag is well formed, and what goes on says the same everywhere.
func FuzzReadOthers(f *testing.F) {
	rt := newRuntime(f, baselineSelf, graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes", "sermant=x-lane", "joylive=1"), quiet())
	f.Fuzz(func(t *testing.T, baggage, mse, polaris, space, code string) {
		for _, keys := range allKeys {
			c := graylib.MapCarrier{
				keys.Baggage: baggage, "x-mse-tag": mse, "__microservice_tag__": mse, "service-lane": polaris,
				"X-Polaris-Metadata-Transitive-service-lane": polaris, "x-lane-space-id": space, "x-lane-code": code,
			}
			ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, keys, c)
			tag := graylib.TagFrom(ctx)
			if !tag.Valid() {
				t.Fatalf("tag %q", tag)
			}
			rt.Inject(ctx, keys, c)
			before := rt.Status()
			again, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, keys, c)
			if got := graylib.TagFrom(again); got != tag {
				t.Fatalf("%q goes on as %q: %v", tag, got, c)
			}
			after := rt.Status()
			if tag != "" && tag != "base" && (after.TagDisagreements != before.TagDisagreements || after.MalformedTags != before.MalformedTags) {
				t.Fatalf("what goes on of %q disagrees: %v", tag, c)
			}
		}
	})
}

// FuzzPropagationConfig: settings are taken or refused with one line that names the variable, and never show a secret.
func FuzzPropagationConfig(f *testing.F) {
	names := map[string]string{"GRAY_TRUST_KEYS": "", "GRAY_TRUST_CIDRS": "", "GRAY_PRESETS": ""}
	f.Fuzz(func(t *testing.T, keys, cidrs, presets string) {
		values := map[string]string{"GRAY_TRUST_KEYS": keys, "GRAY_TRUST_CIDRS": cidrs, "GRAY_PRESETS": presets}
		for name := range names {
			c, err := graylib.ConfigFrom(env(map[string]string{name: values[name]}))
			if err != nil {
				if !errors.Is(err, graylib.ErrInvalidConfig) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("%s=%q: %v", name, values[name], err)
				}
				continue
			}
			rt, err := graylib.New(baselineSelf, graylib.WithConfig(c), quiet())
			if err != nil {
				t.Fatalf("%s=%q is taken and then refused: %v", name, values[name], err)
			}
			out := graylib.MapCarrier{}
			rt.Inject(graylib.WithTag(context.Background(), "gray"), graylib.HTTPKeys, out)
			for k, v := range out {
				for _, b := range []byte(k + v) {
					if b <= ' ' || b > '~' {
						t.Fatalf("%s=%q writes %q: %q", name, values[name], k, v)
					}
				}
			}
		}
		parsed, err := graylib.ParseTrustKeys(keys)
		for _, k := range parsed {
			if len(k.Secret) < graylib.MinTrustKeyBytes || err != nil {
				t.Fatalf("key %q has %d bytes, %v", k.ID, len(k.Secret), err)
			}
		}
	})
}
