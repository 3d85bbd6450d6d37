package rules

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestConditions(t *testing.T) {
	tests := []struct {
		name string
		cond string
		req  *fakeRequest
		want bool
	}{
		{"equal", "{from: query, key: name, op: '==', value: xiaoming}", request("query", "name", "xiaoming"), true},
		{"equal, other", "{from: query, key: name, op: '==', value: xiaoming}", request("query", "name", "lisi"), false},
		{"equal, absent", "{from: query, key: name, op: '==', value: xiaoming}", request(), false},
		{"equal, other key", "{from: query, key: name, op: '==', value: xiaoming}", request("query", "nick", "xiaoming"), false},
		{"equal, other source", "{from: query, key: name, op: '==', value: xiaoming}", request("cookie", "name", "xiaoming"), false},
		{"equal, second value", "{from: query, key: name, op: '==', value: xiaoming}", request("query", "name", "lisi", "query", "name", "xiaoming"), true},
		{"equal, 64th value", "{from: query, key: name, op: '==', value: x}", many(64), true},
		{"equal, 65th value", "{from: query, key: name, op: '==', value: x}", many(65), false},
		{"equal, empty", "{from: query, key: name, op: '==', value: ''}", request("query", "name", ""), true},
		{"equal, empty is not absent", "{from: query, key: name, op: '==', value: ''}", request(), false},
		{"equal, as written", "{from: query, key: name, op: '==', value: 007}", request("query", "name", "007"), true},
		{"equal, no number", "{from: query, key: name, op: '==', value: 7}", request("query", "name", "7.0"), false},
		{"equal, boolean", "{from: query, key: name, op: '==', value: True}", request("query", "name", "True"), true},
		{"header", "{from: header, key: x-user, op: '==', value: a}", request("header", "x-user", "a"), true},
		{"cookie", "{from: cookie, key: user, op: '==', value: a}", request("cookie", "user", "a"), true},
		{"metainfo", "{from: metainfo, key: USER, op: '==', value: a}", request("metainfo", "USER", "a"), true},
		{"method", "{from: method, op: '==', value: GET}", request("method", "", "GET"), true},
		{"path", "{from: path, op: prefix, value: /a}", request("path", "", "/a/b"), true},
		{"not equal", "{from: query, key: name, op: '!=', value: a}", request("query", "name", "b"), true},
		{"not equal, equal", "{from: query, key: name, op: '!=', value: a}", request("query", "name", "a"), false},
		{"not equal, absent", "{from: query, key: name, op: '!=', value: a}", request(), true},
		{"not equal, any value", "{from: query, key: name, op: '!=', value: a}", request("query", "name", "a", "query", "name", "b"), true},
		{"in", "{from: query, key: name, op: in, value: [a, b]}", request("query", "name", "b"), true},
		{"in, not", "{from: query, key: name, op: in, value: [a, b]}", request("query", "name", "c"), false},
		{"in, absent", "{from: query, key: name, op: in, value: [a, b]}", request(), false},
		{"in, many", "{from: query, key: name, op: in, value: [a, b, c, d, e, f, g, h, i, j]}", request("query", "name", "j"), true},
		{"in, many, not", "{from: query, key: name, op: in, value: [a, b, c, d, e, f, g, h, i, j]}", request("query", "name", "k"), false},
		{"not-in", "{from: query, key: name, op: not-in, value: [a, b]}", request("query", "name", "c"), true},
		{"not-in, in", "{from: query, key: name, op: not-in, value: [a, b]}", request("query", "name", "a"), false},
		{"not-in, absent", "{from: query, key: name, op: not-in, value: [a, b]}", request(), true},
		{"prefix", "{from: query, key: name, op: prefix, value: xiao}", request("query", "name", "xiaoming"), true},
		{"prefix, elsewhere", "{from: query, key: name, op: prefix, value: ming}", request("query", "name", "xiaoming"), false},
		{"prefix, absent", "{from: query, key: name, op: prefix, value: xiao}", request(), false},
		{"regex, unanchored", "{from: query, key: name, op: regex, value: 'o.g'}", request("query", "name", "xiaoming"), false},
		{"regex", "{from: query, key: name, op: regex, value: 'om.n'}", request("query", "name", "xiaoming"), true},
		{"regex, anchored", "{from: query, key: name, op: regex, value: '^om'}", request("query", "name", "xiaoming"), false},
		{"regex, absent", "{from: query, key: name, op: regex, value: '.*'}", request(), false},
		{"exists", "{from: query, key: name, op: exists}", request("query", "name", ""), true},
		{"exists, absent", "{from: query, key: name, op: exists}", request(), false},
		{"greater", "{from: query, key: age, op: '>', value: 17.5}", request("query", "age", "18"), true},
		{"greater, equal", "{from: query, key: age, op: '>', value: 18}", request("query", "age", "18.0"), false},
		{"greater, numeric", "{from: query, key: age, op: '>', value: 9}", request("query", "age", "10"), true},
		{"greater, long ids", "{from: query, key: id, op: '>', value: 9007199254740992}", request("query", "id", "9007199254740993"), true},
		{"greater, longest", "{from: query, key: id, op: '>', value: 9223372036854775806}", request("query", "id", "9223372036854775807"), true},
		{"greater, beyond 64 bits", "{from: query, key: id, op: '>', value: 1}", request("query", "id", "99999999999999999999"), true},
		{"greater, non-number", "{from: query, key: age, op: '>', value: 0}", request("query", "age", "many"), false},
		{"greater, infinity", "{from: query, key: age, op: '>', value: 0}", request("query", "age", "Inf"), false},
		{"greater, hexadecimal", "{from: query, key: age, op: '>', value: 0}", request("query", "age", "0x10"), false},
		{"greater, space", "{from: query, key: age, op: '>', value: 0}", request("query", "age", " 1"), false},
		{"greater, empty", "{from: query, key: age, op: '>', value: 0}", request("query", "age", ""), false},
		{"greater, absent", "{from: query, key: age, op: '>', value: -1}", request(), false},
		{"less", "{from: query, key: age, op: '<', value: 18}", request("query", "age", "-3e1"), true},
		{"less, non-number", "{from: query, key: age, op: '<', value: 18}", request("query", "age", "x"), false},
		{"less, absent", "{from: query, key: age, op: '<', value: 18}", request(), false},
		{"percent 100", "{from: query, key: id, op: percent, value: 100}", request("query", "id", "1001"), true},
		{"percent 0", "{from: query, key: id, op: percent, value: 0}", request("query", "id", "1001"), false},
		{"percent, absent", "{from: query, key: id, op: percent, value: 100}", request(), false},
		{"ip in a network", "{from: ip, op: in, value: [192.0.2.1, 10.0.0.0/8]}", request("ip", "", "10.1.2.3"), true},
		{"ip in, an address", "{from: ip, op: in, value: [192.0.2.1, 10.0.0.0/8]}", request("ip", "", "192.0.2.1"), true},
		{"ip in, not", "{from: ip, op: in, value: [192.0.2.1, 10.0.0.0/8]}", request("ip", "", "192.0.2.2"), false},
		{"ip in, host bits", "{from: ip, op: in, value: [10.9.9.9/8]}", request("ip", "", "10.1.2.3"), true},
		{"ip in, IPv6", "{from: ip, op: in, value: ['2001:db8::/32']}", request("ip", "", "2001:0db8:0:0::1"), true},
		{"ip in, IPv4 in IPv6", "{from: ip, op: in, value: [10.0.0.0/8]}", request("ip", "", "::ffff:10.1.2.3"), true},
		{"ip in, IPv4 network in IPv6", "{from: ip, op: in, value: ['::ffff:10.0.0.0/104']}", request("ip", "", "10.1.2.3"), true},
		{"ip in, zone", "{from: ip, op: in, value: ['fe80::/10']}", request("ip", "", "fe80::1%eth0"), true},
		{"ip in, no address", "{from: ip, op: in, value: [0.0.0.0/0]}", request("ip", "", "unknown"), false},
		{"ip in, absent", "{from: ip, op: in, value: [0.0.0.0/0]}", request(), false},
		{"ip not-in", "{from: ip, op: not-in, value: [10.0.0.0/8]}", request("ip", "", "192.0.2.1"), true},
		{"ip not-in, in", "{from: ip, op: not-in, value: [10.0.0.0/8]}", request("ip", "", "10.0.0.1"), false},
		{"ip not-in, absent", "{from: ip, op: not-in, value: [10.0.0.0/8]}", request(), true},
		{"ip ==", "{from: ip, op: '==', value: '2001:db8::1'}", request("ip", "", "2001:db8:0::1"), true},
		{"ip !=", "{from: ip, op: '!=', value: '2001:db8::1'}", request("ip", "", "2001:db8:0::1"), false},
		{"body", "{from: body, key: user.name, op: '==', value: x}", body(`{"user":{"name":"x"}}`), true},
		{"body, number as written", "{from: body, key: n, op: '==', value: '1.50'}", body(`{"n":1.50}`), true},
		{"body, long number", "{from: body, key: n, op: '>', value: 9007199254740992}", body(`{"n":9007199254740993}`), true},
		{"body, boolean", "{from: body, key: b, op: '==', value: true}", body(`{"b":true}`), true},
		{"body, array", "{from: body, key: items.sku, op: '==', value: b}", body(`{"items":[{"sku":"a"},{"sku":"b"}]}`), true},
		{"body, array at the top", "{from: body, key: sku, op: '==', value: b}", body(`[{"sku":"a"},{"sku":"b"}]`), true},
		{"body, null is absent", "{from: body, key: n, op: exists}", body(`{"n":null}`), false},
		{"body, object exists", "{from: body, key: user, op: exists}", body(`{"user":{}}`), true},
		{"body, object equals nothing", "{from: body, key: user, op: '==', value: ''}", body(`{"user":{}}`), false},
		{"body, object differs", "{from: body, key: user, op: '!=', value: ''}", body(`{"user":{}}`), true},
		{"body, through a text", "{from: body, key: user.name, op: exists}", body(`{"user":"name"}`), false},
		{"body, no JSON", "{from: body, key: a, op: exists}", body(`a=1`), false},
		{"body, more than JSON", "{from: body, key: a, op: exists}", body(`{"a":1} x`), false},
		{"body, more than JSON, bracket", "{from: body, key: a, op: exists}", body(`{"a":1}]`), false},
		{"body, none", "{from: body, key: a, op: '!=', value: x}", body(``), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustCompile(t, cond(tt.cond))
			if _, got := r.Colour("a", tt.req); got != tt.want {
				t.Errorf("Colour = %v, want %v", got, tt.want)
			}
			if tt.req.bodies > 1 {
				t.Errorf("the body was asked for %d times", tt.req.bodies)
			}
			// Explain says the same of it.
			ex := Explain(r, "a", tt.req)
			if got := ex.Lanes[0].Entries[0].Conditions[0]; ex.Coloured != tt.want || got.Holds != tt.want || got.Why == "" {
				t.Errorf("Explain = %+v, want %v", ex, tt.want)
			}
		})
	}
}

// many makes a request whose last of n values is x.
func many(n int) *fakeRequest {
	r := request()
	values := slices.Repeat([]string{"y"}, n)
	values[n-1] = "x"
	r.values[source{graylib.FromQuery, "name"}] = values
	return r
}

func body(s string) *fakeRequest {
	r := request()
	r.body = s
	return r
}

const twoLanes = `
revision: 3
lanes:
- tag: gray
  entries:
  - {name: xiaoming, service: a, path: /dubbo, when: [{from: query, key: name, op: "==", value: xiaoming}]}
  - name: both
    service: a
    path: /v2/*
    when:
    - {from: header, key: x-beta, op: exists}
    - {from: query, key: name, op: exists}
- tag: blue
  propagate: false
  colourFromNode: true
  entries:
  - name: either
    service: a
    match: any
    when:
    - {from: cookie, key: beta, op: "==", value: "1"}
    - {from: query, key: name, op: "==", value: xiaoming}
  - {name: for-b, service: b, when: [{from: method, op: "==", value: Get}]}
`

func TestColour(t *testing.T) {
	r := mustCompile(t, twoLanes)
	gray := func(entry string) graylib.Decision {
		return graylib.Decision{Tag: "gray", Entry: entry, Propagate: true}
	}
	blue := func(entry string) graylib.Decision { return graylib.Decision{Tag: "blue", Entry: entry} }
	tests := []struct {
		name   string
		callee string
		req    *fakeRequest
		want   graylib.Decision
	}{
		{"first lane", "a", request("path", "", "/dubbo", "query", "name", "xiaoming"), gray("xiaoming")},
		{"other path", "a", request("path", "", "/dubbo/", "query", "name", "xiaoming"), blue("either")},
		{"no path", "a", request("query", "name", "xiaoming"), blue("either")},
		{"prefix, all", "a", request("path", "", "/v2/x", "header", "x-beta", "", "query", "name", "y"), gray("both")},
		{"prefix, one missing", "a", request("path", "", "/v2/x", "header", "x-beta", ""), graylib.Decision{}},
		{"prefix, the prefix itself", "a", request("path", "", "/v2/", "header", "x-beta", "", "query", "name", "y"), gray("both")},
		{"prefix, shorter", "a", request("path", "", "/v2", "header", "x-beta", "", "query", "name", "y"), graylib.Decision{}},
		{"any", "a", request("cookie", "beta", "1"), blue("either")},
		{"none", "a", request("cookie", "beta", "2"), graylib.Decision{}},
		{"other service", "b", request("query", "name", "xiaoming"), graylib.Decision{}},
		{"other service's entry", "b", request("method", "", "Get"), blue("for-b")},
		{"unknown service", "c", request("method", "", "Get"), graylib.Decision{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := r.Colour(tt.callee, tt.req)
			if ok != (tt.want != graylib.Decision{}) || got != tt.want {
				t.Errorf("Colour = %+v, %v; want %+v", got, ok, tt.want)
			}
		})
	}
	want := []graylib.Lane{
		{Tag: "gray", State: graylib.LaneActive, Propagate: true},
		{Tag: "blue", State: graylib.LaneActive, ColourFromNode: true},
	}
	if diff := cmp.Diff(want, r.Lanes()); diff != "" {
		t.Errorf("Lanes (-want +got):\n%s", diff)
	}
	if l, ok := r.Lane("blue"); !ok || l != want[1] {
		t.Errorf("Lane(blue) = %+v, %v", l, ok)
	}
	if l, ok := r.Lane("red"); ok || l != (graylib.Lane{}) {
		t.Errorf("Lane(red) = %+v, %v", l, ok)
	}
	if r.Revision() != 3 {
		t.Errorf("Revision = %d", r.Revision())
	}
}

func TestRetiredLaneColoursNothing(t *testing.T) {
	const doc = `
lanes:
- tag: gray
  state: retired
  entries: [{name: n, service: a, when: [{from: path, op: exists}]}]
- tag: blue
  entries: [{name: m, service: a, when: [{from: path, op: exists}]}]
marks:
- {producer: c, topic: T, tag: gray, when: [{from: keys, op: exists}]}
- {producer: c, topic: T, tag: blue, when: [{from: keys, op: exists}]}
`
	r := mustCompile(t, doc)
	if got, _ := r.Colour("a", request("path", "", "/")); got.Tag != "blue" {
		t.Errorf("Colour = %+v, want blue", got)
	}
	if got, _ := r.Mark("c", "T", request("keys", "", "k")); got != "blue" {
		t.Errorf("Mark = %q, want blue", got)
	}
	if l, ok := r.Lane("gray"); !ok || l.State != graylib.LaneRetired {
		t.Errorf("Lane(gray) = %+v, %v; want it listed and retired", l, ok)
	}
}

func TestMark(t *testing.T) {
	const doc = `
lanes: [{tag: gray}, {tag: blue}]
marks:
- {producer: c, topic: T, tag: blue, when: [{from: property, key: region, op: in, value: [eu, us]}, {from: keys, op: prefix, value: order-}]}
- {producer: c, topic: T, tag: gray, when: [{from: body, key: user.name, op: "==", value: xiaoming}]}
- {producer: c, topic: U, tag: gray, when: [{from: keys, op: exists}]}
`
	r := mustCompile(t, doc)
	withBody := request("property", "region", "eu", "keys", "", "x")
	withBody.body = `{"user":{"name":"xiaoming"}}`
	tests := []struct {
		name, producer, topic string
		msg                   *fakeRequest
		want                  graylib.Tag
	}{
		{"property and second key", "c", "T", request("property", "region", "us", "keys", "", "x", "keys", "", "order-1"), "blue"},
		{"body", "c", "T", withBody, "gray"},
		{"one of two", "c", "T", request("property", "region", "us"), ""},
		{"other topic", "c", "U", request("keys", "", "x"), "gray"},
		{"unknown topic", "c", "V", request("keys", "", "x"), ""},
		{"other producer", "b", "U", request("keys", "", "x"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := r.Mark(tt.producer, tt.topic, tt.msg)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("Mark = %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestConsumption(t *testing.T) {
	const doc = `
lanes: [{tag: gray}, {tag: blue}]
messages:
- {consumer: a, filter: client}
- {consumer: a, topic: T, baseline: ignore, ignore: [gray]}
- {consumer: a, group: g, baseline: all}
- {consumer: a, group: g, topic: T, baseline: ignore, ignore: [blue]}
`
	r := mustCompile(t, doc)
	tests := []struct {
		service, group, topic string
		want                  graylib.Consumption
	}{
		{"a", "h", "U", graylib.Consumption{Baseline: graylib.ModeAuto, Default: graylib.ModeAuto, Filter: graylib.FilterClient}},
		{"a", "h", "T", graylib.Consumption{Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"gray"}, Default: graylib.ModeAuto, Filter: graylib.FilterServer}},
		{"a", "g", "U", graylib.Consumption{Baseline: graylib.ModeAll, Default: graylib.ModeAuto, Filter: graylib.FilterServer}},
		{"a", "g", "T", graylib.Consumption{Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"blue"}, Default: graylib.ModeAuto, Filter: graylib.FilterServer}},
		{"b", "g", "T", graylib.NoRules.Consumption("b", "g", "T")},
	}
	for _, tt := range tests {
		got := r.Consumption(tt.service, tt.group, tt.topic)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Consumption(%s, %s, %s) (-want +got):\n%s", tt.service, tt.group, tt.topic, diff)
		}
	}
	if got := r.Consumption("a", "h", "T"); got.Mode("gray") != graylib.ModeIgnore || got.Mode("blue") != graylib.ModeAuto {
		t.Errorf("modes of gray and blue: %s, %s", got.Mode("gray"), got.Mode("blue"))
	}
}

// TestBucket holds percent to values that other programs can compute: FNV-1a by the standard library, and fmix64 written
// out again.
func TestBucket(t *testing.T) {
	for _, v := range []struct {
		tag   graylib.Tag
		value string
		want  int
	}{{"gray", "1001", 8891}, {"gray", "1002", 4178}, {"blue", "1001", 2892}, {"gray", "", 3039}} {
		if got := Bucket(v.tag, v.value); got != referenceBucket(string(v.tag), v.value) || got != v.want {
			t.Errorf("Bucket(%q, %q) = %d, want %d", v.tag, v.value, got, v.want)
		}
	}
}

func TestPercentIsEven(t *testing.T) {
	const users = 20_000
	for _, form := range []string{"%d", "user-%d", "%08d", "%d@example.com"} {
		for _, percent := range []float64{1, 5, 33.33, 50} {
			hit := 0
			for i := range users {
				if Bucket("gray", fmt.Sprintf(form, i)) < int(percent*100) {
					hit++
				}
			}
			// Five standard deviations of a fair draw.
			p := percent / 100
			if off := math.Abs(float64(hit) - users*p); off > 5*math.Sqrt(users*p*(1-p)) {
				t.Errorf("%s: %d of %d users at %v%%", form, hit, users, percent)
			}
		}
	}
}

func TestPercentOnlyAdds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.IntRange(0, 10000).Draw(t, "low")
		high := rapid.IntRange(low, 10000).Draw(t, "high")
		id := rapid.String().Draw(t, "id")
		colours := func(percent int, name string) bool {
			value := strconv.Itoa(percent/100) + "." + fmt.Sprintf("%02d", percent%100)
			r, err := Compile(&Document{Lanes: []Lane{{Tag: "gray", Entries: []Entry{{Name: name, Service: "a", When: []Condition{
				{From: graylib.FromQuery, Key: "id", Op: OpPercent, Value: Value{value}},
			}}}}}})
			if err != nil {
				t.Fatal(err)
			}
			_, ok := r.Colour("a", request("query", "id", id))
			return ok
		}
		if colours(low, "n") && !colours(high, "n") {
			t.Errorf("%q is in at %d and out at %d hundredths", id, low, high)
		}
		if colours(low, "n") != colours(low, "renamed") {
			t.Errorf("renaming moved %q", id)
		}
		if colours(10000, "n") != true || colours(0, "n") != false {
			t.Errorf("%q at 100 or at 0", id)
		}
	})
}
