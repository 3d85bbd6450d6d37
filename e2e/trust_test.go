package e2e

import (
	"encoding/base64"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// What the shared suite's services are told to trust (G9): one key, and one address of the loopback network, which the
// other tests don't send from. Carriers that are off can't be tried, so W3C baggage and MSE's header are on.
var trustKey = graylib.TrustKey{ID: "e2e", Secret: []byte("a secret of the end-to-end tests")}

const trustedAddr = "127.0.0.2"

func trustEnv() map[string]string {
	return map[string]string{
		graylib.EnvTrustKeys:  trustKey.ID + ":" + base64.StdEncoding.EncodeToString(trustKey.Secret),
		graylib.EnvTrustCIDRs: trustedAddr + "/32",
		graylib.EnvBaggage:    "on",
		graylib.EnvPresets:    "mse",
	}
}

// G9: from outside nothing but what is configured colours, and what colours, colours the whole chain: lane red has a and c.
func TestTrustedSources(t *testing.T) {
	s := chain(t)
	listLanes(t, s, red)
	laneFor(t, s, red, "a", "c")
	if err := s.WaitRouted(t.Context()); err != nil {
		t.Fatal(err)
	}
	signed := func(key graylib.TrustKey, tag graylib.Tag, path string, at time.Time) string {
		t.Helper()
		what := graylib.SignedTag{Tag: tag}
		if path != "" {
			what.Method, what.Path = http.MethodGet, path
		}
		value, err := graylib.SignTag(key, what, at)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	now := time.Now()
	stranger := graylib.TrustKey{ID: trustKey.ID, Secret: []byte("another secret of the same length!!")}
	const anywhere, trusted = "127.0.0.1", trustedAddr
	for _, c := range []struct {
		name, from, header, value string
		want                      graylib.Tag
	}{
		{"a signature", anywhere, graylib.HTTPSignedTag, signed(trustKey, red, "", now), red},
		{"a signature for this request", anywhere, graylib.HTTPSignedTag, signed(trustKey, red, "/A/dubbo", now), red},
		{"a signature for another request", anywhere, graylib.HTTPSignedTag, signed(trustKey, red, "/B/b", now), graylib.Untagged},
		{"an expired signature", anywhere, graylib.HTTPSignedTag, signed(trustKey, red, "", now.Add(-time.Hour)), graylib.Untagged},
		{"a signature with another key", anywhere, graylib.HTTPSignedTag, signed(stranger, red, "", now), graylib.Untagged},
		{"a signature for a lane that isn't listed", anywhere, graylib.HTTPSignedTag, signed(trustKey, "nowhere", "", now), graylib.Untagged},
		{"our header from anywhere", anywhere, graylib.HTTPKeys.Tag, string(red), graylib.Untagged},
		{"our header from a trusted network", trusted, graylib.HTTPKeys.Tag, string(red), red},
		{"MSE's header from anywhere", anywhere, "x-mse-tag", string(red), graylib.Untagged},
		{"MSE's header from a trusted network", trusted, "x-mse-tag", string(red), red},
		{"baggage from anywhere", anywhere, "baggage", "gray-tag=" + string(red), graylib.Untagged},
		{"baggage from a trusted network", trusted, "baggage", "user=1,gray-tag=" + string(red), red},
		{"a malformed tag from a trusted network", trusted, graylib.HTTPKeys.Tag, "Red Lane", graylib.Untagged},
		{"no tag from a trusted network", trusted, "X-Nothing", "1", graylib.Untagged},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := suite.Do(t.Context(), clientFrom(t, c.from), s.GatewayURL(),
				suite.Request{Path: "/A/dubbo", Header: http.Header{c.header: {c.value}}})
			if err != nil || a.Status != http.StatusOK {
				t.Fatalf("status %d, %s, %v", a.Status, a.Error, err)
			}
			if bad := misplaced(a.Hops, c.want, fixed("a", "c")(c.want)); bad != "" {
				t.Errorf("broke G9 trust: %s: %s from %s: %s", c.header, c.value, c.from, bad)
			}
		})
	}
}

// clientFrom returns a client whose requests come from an address of this machine.
func clientFrom(t *testing.T, addr string) *http.Client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport := &http.Transport{DialContext: dialer.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 20 * time.Second, Transport: transport}
}
