package graylib_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

func quiet() graylib.Option { return graylib.WithLogger(slog.New(slog.DiscardHandler)) }

// arrivedTag is the tag with which a request with these headers is served.
func arrivedTag(rt *graylib.Runtime, keys graylib.Keys, c graylib.Carrier) graylib.Tag {
	ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, keys, c)
	return graylib.TagFrom(ctx)
}

func TestReadBaggage(t *testing.T) {
	long := "gray-tag=gray," + strings.Repeat("x", 8192)
	many := strings.Repeat("k=v,", 64) + "gray-tag=gray"
	for _, tt := range []struct {
		name, own, baggage string
		want               graylib.Tag
		malformed          int64
		disagreements      int64
	}{
		{"nothing", "", "", "", 0, 0},
		{"alone", "", "gray-tag=gray", "gray", 0, 0},
		{"among others", "", "a=1;p=q , gray-tag = gray ;x=y, b=2", "gray", 0, 0},
		{"percent-encoded", "", "gray-tag=gr%61y", "gray", 0, 0},
		{"percent-encoded badly", "", "gray-tag=gr%6", "", 1, 0},
		{"malformed", "", "gray-tag=Gray!", "", 1, 0},
		{"empty", "", "gray-tag=", "", 0, 0},
		{"another key in another case", "", "Gray-Tag=gray", "", 0, 0}, // keys are case-sensitive
		{"the last of two", "", "gray-tag=blue,gray-tag=gray", "gray", 0, 0},
		{"as a property of another", "", "a=1;gray-tag=gray", "", 0, 0},
		{"ours agrees", "gray", "gray-tag=gray", "gray", 0, 0},
		{"ours disagrees", "blue", "gray-tag=gray", "blue", 0, 1},
		{"ours is malformed", "Gray!", "gray-tag=gray", "", 1, 1},
		{"ours, and malformed baggage", "blue", "gray-tag=!", "blue", 0, 1},
		{"at the limit of bytes", "", "gray-tag=gray,a=" + strings.Repeat("x", 8192-len("gray-tag=gray,a=")), "gray", 0, 0},
		{"beyond the limit of bytes", "", long, "gray", 0, 0},
		{"the entry beyond the limit of bytes", "", strings.Repeat("x", 8192) + ",gray-tag=gray", "", 0, 0},
		{"the entry beyond the limit of members", "", many, "", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for keysName, keys := range allKeys {
				rt := newRuntime(t, baselineSelf, graylib.WithBaggage(), quiet())
				c := graylib.MapCarrier{keys.Tag: tt.own, keys.Baggage: tt.baggage}
				if got := arrivedTag(rt, keys, c); got != tt.want {
					t.Errorf("%s: tag %q, want %q", keysName, got, tt.want)
				}
				if s := rt.Status(); s.MalformedTags != tt.malformed || s.TagDisagreements != tt.disagreements {
					t.Errorf("%s: %d malformed, %d disagree; want %d, %d", keysName, s.MalformedTags, s.TagDisagreements, tt.malformed, tt.disagreements)
				}
				if got, want := arrivedTag(newRuntime(t, baselineSelf, quiet()), keys, c), tt.own; want == "Gray!" && got != "" || want != "Gray!" && string(got) != want {
					t.Errorf("%s: with baggage off: tag %q, want %q", keysName, got, want)
				}
			}
		})
	}
}

func TestWriteBaggage(t *testing.T) {
	full := "a=" + strings.Repeat("x", 8192-len("a=,gray-tag=gray"))
	for _, tt := range []struct {
		name, old string
		tag       graylib.Tag
		want      string
		full      int64
	}{
		{"alone", "", "gray", "gray-tag=gray", 0},
		{"untagged", "", "", "", 0},
		{"beside others", "a=1;p=q,b=%20", "gray", "a=1;p=q,b=%20,gray-tag=gray", 0},
		{"in place of an older one", "a=1,gray-tag=blue;x=y,b=2", "gray", "a=1,b=2,gray-tag=gray", 0},
		{"an older one goes with the tag", "a=1,gray-tag=blue", "", "a=1", 0},
		{"others of an untagged request", "a=1, b=2", "", "a=1, b=2", 0},
		{"as it was", "gray-tag=gray", "gray", "gray-tag=gray", 0},
		{"just room", full, "gray", full + ",gray-tag=gray", 0},
		{"no room", full + "x", "gray", full + "x", 1},
		{"63 members", strings.Repeat("k=v,", 62) + "k=v", "gray", strings.Repeat("k=v,", 63) + "gray-tag=gray", 0},
		{"64 members", strings.Repeat("k=v,", 63) + "k=v", "gray", strings.Repeat("k=v,", 63) + "k=v", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf, graylib.WithBaggage(), quiet())
			c := graylib.MapCarrier{}
			c.Set("baggage", tt.old)
			rt.Inject(graylib.WithTag(t.Context(), tt.tag), graylib.HTTPKeys, c)
			if diff := cmp.Diff(tt.want, c["baggage"]); diff != "" {
				t.Errorf("baggage (-want +got):\n%s", diff)
			}
			if c[graylib.HTTPKeys.Tag] != string(tt.tag) {
				t.Errorf("our own key says %q", c[graylib.HTTPKeys.Tag])
			}
			if n := rt.Status().BaggageFull; n != tt.full {
				t.Errorf("%d counted as full, want %d", n, tt.full)
			}
		})
	}
}

func TestSeveralBaggageHeaders(t *testing.T) {
	h := http.Header{"Baggage": {"a=1", "gray-tag=gray", "b=2"}}
	rt := newRuntime(t, baselineSelf, graylib.WithBaggage(), quiet())
	if got := arrivedTag(rt, graylib.HTTPKeys, graylib.HeaderCarrier(h)); got != "gray" {
		t.Errorf("tag %q", got)
	}
	rt.Inject(graylib.WithTag(t.Context(), "blue"), graylib.HTTPKeys, graylib.HeaderCarrier(h))
	if diff := cmp.Diff([]string{"a=1,b=2,gray-tag=blue"}, h["Baggage"]); diff != "" {
		t.Errorf("baggage (-want +got):\n%s", diff)
	}
}

var presetOptions = map[string]string{"mse": "mse", "polaris": "polaris=lanes", "sermant": "sermant=x_lane_canary", "joylive": "joylive=1"}

// what each preset writes for the tag gray.
var presetWrites = map[string]map[string]graylib.MapCarrier{
	"mse": {
		"http":    {"x-mse-tag": "gray"},
		"message": {"__microservice_tag__": `[{"name":"gray"}]`},
	},
	"polaris": {
		"http":    {"service-lane": "lanes/gray", "x-polaris-metadata-transitive-service-lane": "lanes/gray"},
		"message": {"X-Polaris-Metadata-Transitive-service-lane": "lanes/gray"},
	},
	"sermant": {"http": {"x_lane_canary": "gray"}, "message": {"x_lane_canary": "gray"}},
	"joylive": {
		"http":    {"x-lane-space-id": "1", "x-lane-code": "gray"},
		"message": {"x-lane-space-id": "1", "x-lane-code": "gray"},
	},
}

func TestPresetsAreWrittenAndReadBack(t *testing.T) {
	for name, option := range presetOptions {
		t.Run(name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf, graylib.WithPresets(option), quiet())
			for keysName, keys := range allKeys {
				want := graylib.MapCarrier{keys.Tag: "gray"}
				for k, v := range presetWrites[name][keysName] {
					want[k] = v
				}
				c := graylib.MapCarrier{}
				rt.Inject(graylib.WithTag(t.Context(), "gray"), keys, c)
				if diff := cmp.Diff(want, c); diff != "" {
					t.Errorf("%s (-want +got):\n%s", keysName, diff)
				}
				if len(want) > 1 {
					delete(c, keys.Tag)
					if got := arrivedTag(rt, keys, c); got != "gray" {
						t.Errorf("%s: read back as %q", keysName, got)
					}
				}
				rt.Inject(t.Context(), keys, c)
				if len(c) != 0 {
					t.Errorf("%s: an untagged context leaves %v on the wire", keysName, c)
				}
			}
			if s := rt.Status(); s.MalformedTags+s.TagDisagreements != 0 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestReadPresets(t *testing.T) {
	all := graylib.WithPresets("mse", "polaris=lanes", "sermant=x_lane_canary", "joylive=1")
	type carrier = graylib.MapCarrier
	for _, tt := range []struct {
		name          string
		in            carrier
		want          graylib.Tag
		malformed     int64
		disagreements int64
	}{
		{"nothing", carrier{}, "", 0, 0},
		{"ours wins", carrier{"x-gray-tag": "blue", "x-mse-tag": "gray"}, "blue", 0, 1},
		{"the first wins", carrier{"x-mse-tag": "gray", "x_lane_canary": "blue"}, "gray", 0, 1},
		{"all agree", carrier{"x-gray-tag": "gray", "x-mse-tag": "gray", "service-lane": "lanes/gray", "x_lane_canary": "gray", "x-lane-code": "gray"}, "gray", 0, 0},
		{"MSE's baseline", carrier{"x-mse-tag": "base"}, "", 0, 0},
		{"MSE's baseline says nothing against another", carrier{"x-mse-tag": "base", "x_lane_canary": "gray"}, "gray", 0, 0},
		{"malformed", carrier{"x-mse-tag": "Gray_V1"}, "", 1, 0},
		{"Polaris without a group", carrier{"service-lane": "gray"}, "gray", 0, 0},
		{"Polaris of another group", carrier{"service-lane": "other/gray"}, "", 0, 0},
		{"Polaris as Spring Cloud Tencent transmits it", carrier{"x-polaris-metadata-transitive-service-lane": "lanes/gray"}, "gray", 0, 0},
		{"joylive of another space", carrier{"x-lane-space-id": "2", "x-lane-code": "gray"}, "", 0, 0},
		{"joylive's space alone", carrier{"x-lane-space-id": "1"}, "", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf, all, quiet())
			if got := arrivedTag(rt, graylib.HTTPKeys, tt.in); got != tt.want {
				t.Errorf("tag %q, want %q", got, tt.want)
			}
			if s := rt.Status(); s.MalformedTags != tt.malformed || s.TagDisagreements != tt.disagreements {
				t.Errorf("%d malformed, %d disagree; want %d, %d", s.MalformedTags, s.TagDisagreements, tt.malformed, tt.disagreements)
			}
		})
	}
	rt := newRuntime(t, baselineSelf, all, quiet())
	for value, want := range map[string]graylib.Tag{
		`[{"name":"gray"}]`: "gray", `[{"id":1,"name":"gray"},{"name":"blue"}]`: "gray", `[{"name":"base"}]`: "",
		`[]`: "", `{}`: "", `gray`: "", `[{"name":7}]`: "", `[{"name":"` + strings.Repeat("g", 1100) + `"}]`: "",
	} {
		if got := arrivedTag(rt, graylib.MessageKeys, carrier{"__microservice_tag__": value}); got != want {
			t.Errorf("message with %s: tag %q, want %q", value, got, want)
		}
	}
}

func TestForeignValuesStayWhereThereIsNoTag(t *testing.T) {
	rt := newRuntime(t, baselineSelf, graylib.WithPresets("polaris=lanes", "joylive=1"), quiet())
	in := graylib.MapCarrier{"service-lane": "other/gray", "x-lane-space-id": "2", "x-lane-code": "blue"}
	c := graylib.MapCarrier{"service-lane": "other/gray", "x-lane-space-id": "2", "x-lane-code": "blue"}
	rt.Inject(t.Context(), graylib.HTTPKeys, c)
	if diff := cmp.Diff(in, c); diff != "" {
		t.Errorf("headers of other systems' own lanes (-want +got):\n%s", diff)
	}
	const transitive = "x-polaris-metadata-transitive-service-lane"
	mixed := graylib.MapCarrier{"service-lane": "lanes/gray", transitive: "other/gray"}
	rt.Inject(t.Context(), graylib.HTTPKeys, mixed)
	if diff := cmp.Diff(graylib.MapCarrier{transitive: "other/gray"}, mixed); diff != "" {
		t.Errorf("one of ours and one of another group (-want +got):\n%s", diff)
	}
}

func TestDisagreementsAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	rt := newRuntime(t, baselineSelf, graylib.WithPresets("mse"), graylib.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	for range 3 {
		arrivedTag(rt, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray", "x-mse-tag": "blue"})
	}
	if n := strings.Count(log.String(), "name different tags"); n != 1 || rt.Status().TagDisagreements != 3 {
		t.Errorf("logged %d times, counted %d:\n%s", n, rt.Status().TagDisagreements, log.String())
	}
}

func TestPropagationConfig(t *testing.T) {
	key := strings.Repeat("QUFB", 11) // 33 bytes
	c, err := graylib.ConfigFrom(env(map[string]string{
		"GRAY_BAGGAGE": "on", "GRAY_PRESETS": "mse, polaris=lanes", "GRAY_TRUST_KEYS": "k1:" + key, "GRAY_TRUST_CIDRS": "10.0.0.0/8, ::1",
	}))
	if err != nil || !c.Baggage || c.Presets == "" {
		t.Fatalf("%+v, %v", c, err)
	}
	rt := newRuntime(t, baselineSelf, graylib.WithConfig(c), graylib.WithPresets("sermant=x-lane"), quiet())
	out := graylib.MapCarrier{}
	rt.Inject(graylib.WithTag(t.Context(), "gray"), graylib.HTTPKeys, out)
	if len(out) != 6 {
		t.Errorf("carriers of the configuration and of options: %v", out)
	}
	if rt.Status().Trust == nil || newRuntime(t, baselineSelf).Status().Trust != nil {
		t.Error("the status tells of trusted sources where there are none, or doesn't where there are")
	}
	for _, tt := range []struct{ name, value, quoted, want string }{
		{"GRAY_BAGGAGE", "yes", "yes", "on or off"},
		{"GRAY_PRESETS", "dubbo", "dubbo", "polaris=<lane group>"},
		{"GRAY_PRESETS", "mse=x", "mse=x", "takes no argument"},
		{"GRAY_PRESETS", "polaris", "polaris", "lane group"},
		{"GRAY_PRESETS", "polaris=a/b", "polaris=a/b", "lane group"},
		{"GRAY_PRESETS", "sermant", "sermant", "sermant=<key>"},
		{"GRAY_PRESETS", "sermant=x-gray-tag", "sermant=x-gray-tag", "sermant=<key>"},
		{"GRAY_PRESETS", "sermant=Cookie", "sermant=Cookie", "sermant=<key>"},
		{"GRAY_PRESETS", "joylive", "joylive", "space id"},
		{"GRAY_PRESETS", "mse,mse", "mse,mse", "twice"},
		{"GRAY_TRUST_KEYS", "secretsecret", "…", "no id"},
		{"GRAY_TRUST_KEYS", "k1:c2hvcnQ=", "k1:…", "at least 32"},
		{"GRAY_TRUST_KEYS", "k1:" + key + "!", "k1:…", "base64"},
		{"GRAY_TRUST_KEYS", "k.1:" + key, "k.1:…", "key id"},
		{"GRAY_TRUST_KEYS", "k1:" + key + ",k1:" + key, "k1:…", "twice"},
		{"GRAY_TRUST_CIDRS", "10.0.0.0/33", "10.0.0.0/33", "CIDR"},
		{"GRAY_TRUST_CIDRS", "10.0.0.1/8", "10.0.0.1/8", "10.0.0.0/8"},
		{"GRAY_TRUST_CIDRS", "localhost", "localhost", "CIDR"},
		{"GRAY_TRUST_CIDRS", "fe80::1%eth0", "fe80::1%eth0", "CIDR"},
	} {
		_, err := graylib.ConfigFrom(env(map[string]string{tt.name: tt.value}))
		refused(t, err, tt.name, tt.quoted, tt.want)
		if err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "secretsecret")) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if _, err := graylib.New(baselineSelf, graylib.WithPresets("mse"), graylib.WithConfig(graylib.Config{Presets: "mse"})); err == nil {
		t.Error("a preset of both configuration and options is taken")
	}
	if _, err := graylib.New(baselineSelf, graylib.WithTrust([]graylib.TrustKey{{ID: "k", Secret: []byte("short")}})); err == nil {
		t.Error("a short key is taken")
	}
}

// TestEveryCarrierAgrees: what is written by all carriers is read back by each alone.
func TestEveryCarrierAgrees(t *testing.T) {
	rt := newRuntime(t, baselineSelf, graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes", "sermant=x-lane", "joylive=1"), quiet())
	rapid.Check(t, func(t *rapid.T) {
		tag := graylib.Tag(rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?`).Filter(func(s string) bool {
			return graylib.Tag(s).Valid() && s != "base" // MSE's word for untagged
		}).Draw(t, "tag"))
		for keysName, keys := range allKeys {
			c := graylib.MapCarrier{}
			c.Set(keys.Baggage, rapid.SampledFrom([]string{"", "a=1", "a=1,gray-tag=old;p", "gray-tag=old"}).Draw(t, "baggage"))
			rt.Inject(graylib.WithTag(context.Background(), tag), keys, c)
			for name, value := range c {
				if name == "x-lane-space-id" {
					continue
				}
				if got := arrivedTag(rt, keys, graylib.MapCarrier{name: value}); got != tag {
					t.Fatalf("%s: %s=%s alone is read as %q, want %q", keysName, name, value, got, tag)
				}
			}
		}
		if s := rt.Status(); s.TagDisagreements+s.MalformedTags != 0 {
			t.Fatalf("%+v", s)
		}
	})
}
