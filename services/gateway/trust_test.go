package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/servetest"
)

// TestTrustedSources sets the gateway up by its environment alone.
func TestTrustedSources(t *testing.T) {
	mesh := servetest.New(t)
	mesh.Rules = compiled(t, xiaoming)
	b, grayB, c := mesh.StandIn("b", graylib.Untagged), mesh.StandIn("b", "gray"), mesh.StandIn("c", graylib.Untagged)
	baseline, gray := "B["+b.Addr+"] -> C["+c.Addr+"]", "Bgray["+grayB.Addr+"] -> C["+c.Addr+"]"
	signer := mesh.Start(service, map[string]string{
		"GRAY_TRUST_KEYS": "k1:" + strings.Repeat("QUFB", 11), "GRAY_PRESETS": "mse,polaris=lanes", "GRAY_BAGGAGE": "on",
	}, wire)
	key := graylib.TrustKey{ID: "k1", Secret: []byte(strings.Repeat("AAA", 11))}
	token, err := graylib.SignTag(key, graylib.SignedTag{Tag: "gray", Method: http.MethodGet, Path: "/B/b"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path, header, value, want string
	}{
		"signed":               {"/B/b?x=1", graylib.HTTPSignedTag, token, gray},
		"signed for elsewhere": {"/B//b", graylib.HTTPSignedTag, token, ""},
		"changed":              {"/B/b", graylib.HTTPSignedTag, strings.Replace(token, "gray", "blue", 1), baseline},
		"a client's tag":       {"/B/b", "x-gray-tag", "gray", baseline},
		"a client's baggage":   {"/B/b", "baggage", "gray-tag=gray", baseline},
		"a client's x-mse-tag": {"/B/b", "x-mse-tag", "gray", baseline},
		"a client's lane":      {"/B/b", "service-lane", "lanes/gray", baseline},
		"a client's metainfo":  {"/B/b", "rpc-persist-gray-tag", "gray", baseline},
	} {
		if _, text, _ := signer.Get(tt.path, tt.header, tt.value); text != tt.want && tt.want != "" {
			t.Errorf("%s: %q, want %q", name, text, tt.want)
		}
	}
	s := signer.Runtime.Status()
	want := map[string]int64{
		"x-gray-signed-tag": 3, "x-gray-tag": 1, "baggage gray-tag": 1, "x-mse-tag": 1, "service-lane": 1, "rpc-persist-*": 1,
	}
	if diff := cmp.Diff(want, s.Stripped); diff != "" {
		t.Errorf("stripped (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&graylib.TrustStatus{Signed: 1, Refused: map[string]int64{"wrong signature": 2}}, s.Trust); diff != "" {
		t.Errorf("trust (-want +got):\n%s", diff)
	}

	peers := mesh.Start(service, map[string]string{"GRAY_TRUST_CIDRS": "127.0.0.1"}, wire)
	if _, text, _ := peers.Get("/B/b", "x-gray-tag", "gray"); text != gray {
		t.Errorf("a trusted peer's tag: %q, want %q", text, gray)
	}
	if _, text, _ := peers.Get("/B/b", "x-gray-tag", "green"); text != baseline {
		t.Errorf("a trusted peer's tag of no listed lane: %q, want %q", text, baseline)
	}
}
