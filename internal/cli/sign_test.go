package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestSign(t *testing.T) {
	keys := "k1:" + strings.Repeat("QUFB", 11) + ",k2:" + strings.Repeat("QUJD", 11)
	for _, tc := range []struct {
		args, keys string
		code       int
		want       string // of stdout where the code is 0
	}{
		{"sign gray", keys, ExitOK, "x-gray-signed-tag: v1.k1.gray."},
		{"sign gray --key k2 --for 5m", keys, ExitOK, "x-gray-signed-tag: v1.k2.gray."},
		{"sign gray --method get --path /A/dubbo", keys, ExitOK, ".req."},
		{"sign gray", "", ExitFailed, "GRAY_TRUST_KEYS"},
		{"sign gray", "k1:c2hvcnQ=", ExitFailed, "at least 32"},
		{"sign gray --key k3", keys, ExitUsage, `--key="k3": want one of k1, k2`},
		{"sign Gray", keys, ExitUsage, `tag "Gray"`},
		{"sign gray --for 6m", keys, ExitUsage, "want 1s to 5m0s"},
		{"sign gray --for 0", keys, ExitUsage, "want 1s to 5m0s"},
		{"sign gray --path /A", keys, ExitUsage, "both or none"},
		{"sign", keys, ExitUsage, "accepts 1 arg"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Setenv(graylib.EnvTrustKeys, tc.keys)
			code, out, errs := run(t, strings.Fields(tc.args)...)
			if said := out + errs; code != tc.code || !strings.Contains(said, tc.want) || strings.Count(said, "\n") != 1 {
				t.Errorf("code %d, stdout %q, stderr %q; want %d with %q", code, out, errs, tc.code, tc.want)
			}
			if strings.Contains(errs, "QUFB") || strings.Contains(errs, "c2hvcnQ") {
				t.Errorf("a secret is shown: %s", errs)
			}
		})
	}
}

// TestSignedHeaderIsTaken holds what the command prints against a gateway.
func TestSignedHeaderIsTaken(t *testing.T) {
	keys := "k1:" + strings.Repeat("QUFB", 11)
	t.Setenv(graylib.EnvTrustKeys, keys)
	code, out, errs := run(t, "sign", "gray")
	if code != ExitOK {
		t.Fatal(errs)
	}
	name, value, _ := strings.Cut(strings.TrimSpace(out), ": ")
	rt, err := graylib.New(graylib.Identity{Service: "gateway"}, graylib.WithConfig(graylib.Config{TrustKeys: keys}))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set(name, value)
	rt.Admit(headerLines{graylib.HeaderCarrier(h)}, graylib.Outside{Method: http.MethodGet, Path: "/A/dubbo"})
	// No rules list the lane: the signature is good and the tag isn't taken all the same.
	if got := rt.Status().Trust; got.Refused["lane not listed or retired"] != 1 || len(got.Refused) != 1 {
		t.Errorf("the gateway counted %+v", got)
	}
}

type headerLines struct{ graylib.HeaderCarrier }

func (h headerLines) Remove(name string) { delete(h.HeaderCarrier, name) }

func (h headerLines) Names(yield func(string) bool) {
	for name := range h.HeaderCarrier {
		if !yield(name) {
			return
		}
	}
}
