package graylib_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// TestKillSwitchStartsWhateverElseIsWrong: who throws the switch in an emergency isn't held up by the other settings.
func TestKillSwitchStartsWhateverElseIsWrong(t *testing.T) {
	wrong := map[string]string{
		"GRAY_PRESETS": "nonsense", "GRAY_TRUSTED_PROXIES": "nonsense", "GRAY_MESSAGES": "maybe", "GRAY_BAGGAGE": "maybe", "GRAY_HOPS": "maybe",
		"GRAY_TRUST_KEYS": "nonsense", "GRAY_TRUST_CIDRS": "nonsense", "GRAY_ZONE": "\n", "GRAY_OBSERVER": "nonsense", "GRAY_JOURNAL": "/dev/null/j",
	}
	clearDefault(t)
	var log strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	t.Setenv("GRAY_ENABLED", "off")
	t.Setenv("GRAY_SERVICE", "")
	t.Setenv("GRAY_NACOS_ADDR", "n:8848")
	for name, value := range wrong {
		t.Setenv(name, value)
	}
	graylib.RegisterBackend(func(graylib.Identity, graylib.Config, *slog.Logger) (graylib.Registry, graylib.RulesSource, error) {
		return nil, nil, errors.New("no such Nacos")
	})
	rt, err := graylib.Default()
	if err != nil || rt.Enabled() || rt.Reports() || rt.Registry() != nil {
		t.Fatalf("runtime %+v, error %v; want one that isn't enabled", rt, err)
	}
	for name := range wrong {
		if name != "GRAY_OBSERVER" && name != "GRAY_JOURNAL" && !strings.Contains(log.String(), name) {
			t.Errorf("the log doesn't say that %s is wrong:\n%s", name, log.String())
		}
	}
	if !strings.Contains(log.String(), "no such Nacos") {
		t.Errorf("the log doesn't say that there is no registry:\n%s", log.String())
	}
	// Who the process is, is not guessed: a malformed tag must not become the baseline.
	t.Setenv("GRAY_TAG", "Gray")
	graylib.SetDefault(nil)
	if _, err := graylib.Default(); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("a malformed tag: %v", err)
	}
	_, err = graylib.ConfigFrom(env(map[string]string{"GRAY_ENABLED": "of"}))
	refused(t, err, "GRAY_ENABLED", "of", "on or off")
}

// TestKillSwitchKeepsTheRest: what of the settings is well formed holds beside what is not.
func TestKillSwitchKeepsTheRest(t *testing.T) {
	c, err := graylib.ConfigFrom(env(map[string]string{"GRAY_ENABLED": "off", "GRAY_PRESETS": "mse", "GRAY_TRUST_KEYS": "nonsense", "GRAY_MESSAGES": "off"}))
	if err != nil || !c.Disabled || c.Presets != "mse" || c.TrustKeys != "" || !c.MessagesOff || len(c.Ignored) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestKillSwitchTakesTagsOut goes through all that the runtime does with tags.
func TestKillSwitchTakesTagsOut(t *testing.T) {
	rules := &graylibtest.Rules{
		List: []graylib.Lane{{Tag: "gray", Propagate: true, ColourFromNode: true}},
		ColourFunc: func(string, graylib.Request) (graylib.Decision, bool) {
			return graylib.Decision{Tag: "gray", Propagate: true}, true
		},
		MarkFunc: func(string, string, graylib.Request) (graylib.Tag, bool) { return "gray", true },
	}
	registry := graylibtest.NewRegistry()
	registry.Put(graylib.Instance{Service: "b", Addr: "h:1"})
	registry.Put(graylib.Instance{Service: "b", Addr: "h:2", Tag: "gray"})
	for _, own := range []graylib.Tag{graylib.Untagged, "gray"} {
		id := graylib.Identity{Service: "a", Tag: own}
		for _, off := range []bool{false, true} {
			rt := newRuntime(t, id, graylib.WithRules(rules), graylib.WithRegistry(registry.As(id)), graylib.WithPresets("mse"), graylib.WithBaggage(),
				graylib.WithLogger(slog.New(slog.DiscardHandler)),
				graylib.WithConfig(graylib.Config{Disabled: off, TrustCIDRs: "10.0.0.0/8"}))
			want, addr := graylib.Tag("gray"), "h:2"
			if off {
				want, addr = graylib.Untagged, "h:1"
			}
			header := http.Header{"X-Gray-Tag": {"gray"}, "X-Mse-Tag": {"gray"}, "Baggage": {"gray-tag=gray,k=v"}, "X-Request-Id": {"r1"}}
			ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.HeaderCarrier(header))
			if got := graylib.TagFrom(ctx); got != want || arrival.Hop().RequestTag != want || graylib.RequestIDFrom(ctx) != "r1" {
				t.Errorf("off=%v: arrived with tag %q, id %q, hop %+v", off, got, graylib.RequestIDFrom(ctx), arrival.Hop())
			}
			for name, ctx := range map[string]func() *graylib.Call{
				"tagged":   func() *graylib.Call { _, c := rt.Depart(graylib.WithTag(t.Context(), "gray"), "b", nil); return c },
				"coloured": func() *graylib.Call { _, c := rt.Depart(t.Context(), "b", noRequest{}); return c }, // by the rules
			} {
				call := ctx()
				table, err := rt.Table(t.Context(), "b")
				if err != nil {
					t.Fatal(err)
				}
				in, _, err := call.Next(table)
				if err != nil || in.Addr != addr || call.Tag() != want {
					t.Errorf("off=%v, %s: to %v by tag %q, %v; want %s", off, name, in, call.Tag(), err, addr)
				}
				out := header.Clone() // as a proxy hands it on
				call.Inject(graylib.HTTPKeys, graylib.HeaderCarrier(out))
				left := out.Get("X-Gray-Tag") + out.Get("X-Mse-Tag") + out.Get("Baggage")
				if off == strings.Contains(left, "gray") {
					t.Errorf("off=%v, %s: what goes on is %v", off, name, out)
				}
			}
			if got := rt.MarkTag(graylib.WithTag(t.Context(), "gray"), "T", noRequest{}, nil); got != want {
				t.Errorf("off=%v: a message is marked %q", off, got)
			}
			outside := http.Header{"X-Gray-Tag": {"gray"}}
			rt.Admit(rawHeaders{graylib.HeaderCarrier(outside)}, graylib.Outside{Peer: "10.0.0.1"})
			if got := graylib.Tag(outside.Get("X-Gray-Tag")); got != want {
				t.Errorf("off=%v: a trusted network's tag became %q", off, got)
			}
			rt.Admit(rawHeaders{graylib.HeaderCarrier(outside)}, graylib.Outside{Peer: "192.0.2.1"})
			if got := outside.Get("X-Gray-Tag"); got != "" {
				t.Errorf("off=%v: tag %q came in from outside", off, got)
			}
			a := rt.Announce(graylib.Registration{Service: "a", Addr: "h:9", Weight: 1})
			if off && own != graylib.Untagged {
				if len(rt.Status().NotReady) > 0 || !rt.Idle() {
					t.Errorf("an idle instance isn't ready: %v", rt.Status().NotReady)
				}
			} else {
				eventually(t, "it is registered", func() bool { return len(registry.Instances("a")) == 1 })
			}
			if err := a.Withdraw(t.Context(), 0); err != nil || len(registry.Instances("a")) != 0 {
				t.Errorf("off=%v: %v, left %v", off, err, registry.Instances("a"))
			}
			if rt.Status().Disabled != off {
				t.Errorf("off=%v: the status says %v", off, rt.Status().Disabled)
			}
		}
	}
}
