package rules

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestParseDesign(t *testing.T) {
	got, err := Parse(readFile(t, "design.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Document{
		Revision: 12,
		Lanes: []Lane{{
			Tag: "gray", Listed: t0, State: graylib.LaneActive, Propagate: Bool(true),
			Entries: []Entry{
				{Name: "xiaoming", Service: "a", Path: "/dubbo", Match: MatchAll, When: []Condition{
					{From: graylib.FromQuery, Key: "name", Op: OpEqual, Value: Value{"xiaoming"}},
				}},
				{Name: "five-percent", Service: "a", When: []Condition{
					{From: graylib.FromHeader, Key: "x-user-id", Op: OpPercent, Value: Value{"5"}},
				}},
			},
		}},
		Messages: []Consumer{{Consumer: "a", Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"gray"}, Filter: graylib.FilterServer}},
		Marks: []Mark{{Producer: "c", Topic: "TEST_MQ", Tag: "gray", When: []Condition{
			{From: graylib.FromBody, Key: "user.name", Op: OpEqual, Value: Value{"xiaoming"}},
		}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Document{})); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

// lane wraps entries in a document that is otherwise good.
func lane(entries string) string {
	return "lanes:\n- tag: gray\n  entries:\n" + entries
}

// cond wraps a condition of an entry; it stands in line 4.
func cond(c string) string {
	return lane("  - {name: n, service: a, when: [" + c + "]}\n")
}

// mark wraps a condition of a mark; it stands in line 3.
func mark(c string) string {
	return "lanes: [{tag: gray}]\nmarks:\n- {producer: c, topic: T, tag: gray, when: [" + c + "]}\n"
}

func TestParseRefuses(t *testing.T) {
	const when = ", when: [{from: path, op: exists}]"
	tests := []struct {
		name string
		doc  string
		want []string // whole lines
	}{
		{"empty", "", []string{"the document is empty"}},
		{"comments alone", "# nothing\n", []string{"the document is empty"}},
		{"null", "~\n", []string{"the document is empty"}},
		{"a text", "hello\n", []string{`line 1: is "hello"; want a mapping of one of revision, lanes, messages, marks`}},
		{"a list", "- a\n", []string{"line 1: is a list; want a mapping of one of revision, lanes, messages, marks"}},
		{"two documents", "revision: 1\n---\nrevision: 2\n", []string{"line 3: a second YAML document begins here; there may be one"}},
		{"no YAML", "lanes: [1\n", []string{"line 1: not YAML: sequence end token ']' not found"}},
		{"tab", "lanes:\n\t- tag: gray\n", []string{"line 2: not YAML: found character ' ' that cannot start any token"}},
		{"unknown field", "revison: 1\n", []string{"line 1: revison: unknown field; want one of revision, lanes, messages, marks"}},
		{"odd field", "\"a b\": 1\n", []string{`line 1: "a b": unknown field; want one of revision, lanes, messages, marks`}},
		{"field twice", "revision: 1\nlanes: []\nrevision: 2\n", []string{"line 3: revision: stands here twice, first in line 1"}},
		{"revision", "revision: x\n", []string{`line 1: revision: is "x"; want a whole number from 0`}},
		{"revision quoted", "revision: '1'\n", []string{`line 1: revision: is "1"; want a whole number from 0`}},
		{"revision negative", "revision: -1\n", []string{"line 1: revision: is -1; want a whole number from 0"}},
		{"revision huge", "revision: 99999999999999999999\n", []string{"line 1: revision: is \"99999999999999999999\"; want a whole number from 0"}},
		{"revision a list", "revision: [1]\n", []string{"line 1: revision: is a list; want a whole number from 0"}},
		{"lanes no list", "lanes: gray\n", []string{`line 1: lanes: is "gray"; want a list`}},
		{"lane no mapping", "lanes: [gray]\n", []string{`line 1: lanes[0]: is "gray"; want a mapping of one of tag, listed, state, until, propagate, colourFromNode, entries`}},
		{"anchor", "lanes: &x []\nmarks: *x\n", []string{
			"line 1: lanes: is an anchor or alias; want a list",
			"line 2: marks: is an anchor or alias; want a list",
		}},
		{"merge", "<<: {revision: 1}\n", []string{"line 1: is no field: an anchor or alias; want one of revision, lanes, messages, marks"}},
		{"YAML tag", "revision: !!int 5\n", []string{"line 1: revision: is a YAML type tag; want a whole number from 0"}},
		{"tag missing", "lanes:\n- state: active\n", []string{"line 2: lanes[0].tag: is missing"}},
		{"tag malformed", "lanes:\n- tag: Gray\n", []string{`line 2: lanes[0].tag: malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -`}},
		{"tag reserved", "lanes:\n- tag: baseline\n", []string{`line 2: lanes[0].tag: malformed tag "baseline": reserved word`}},
		{"tag a number", "lanes:\n- tag: 7\n", []string{"line 2: lanes[0].tag: is the number 7; want a text: put it in quotes"}},
		{"tag twice", "lanes:\n- tag: gray\n- tag: gray\n", []string{`line 3: lanes[1].tag: is "gray", which an earlier lane has: a tag is listed once`}},
		{"state", "lanes:\n- tag: gray\n  state: off\n", []string{`line 3: lanes[0].state: is "off"; want one of active, retired`}},
		{"listed", "lanes:\n- tag: gray\n  listed: today\n", []string{"line 3: lanes[0].listed: is \"today\"; want a time such as 2026-11-22T10:00:00Z, written by `graychain rules apply`"}},
		{"until while active", "lanes:\n- tag: gray\n  until: 2026-11-22T10:00:00Z\n", []string{"line 3: lanes[0].until: is set while the lane is active: only a retired lane is forgotten; add state: retired, or leave until out"}},
		{"until before listed", "lanes:\n- tag: gray\n  state: retired\n  listed: 2026-11-22T10:00:00Z\n  until: 2026-11-22T09:00:00Z\n", []string{"line 5: lanes[0].until: is 2026-11-22T09:00:00Z, before listed 2026-11-22T10:00:00Z"}},
		{"propagate", "lanes:\n- tag: gray\n  propagate: yes\n", []string{`line 3: lanes[0].propagate: is "yes"; want true or false`}},
		{"entry without anything", lane("  - {}\n"), []string{
			"line 4: lanes[0].entries[0].name: is missing",
			"line 4: lanes[0].entries[0].service: is missing",
			"line 4: lanes[0].entries[0].when: is empty; want at least one condition",
		}},
		{"entry name twice", lane("  - {name: n, service: a" + when + "}\n  - {name: n, service: b" + when + "}\n"), []string{`line 5: lanes[0].entries[1].name: is "n", which lanes[0].entries[0] has: a name stands once in the document`}},
		{"entry name twice in two lanes", "lanes:\n- tag: x\n  entries: [{name: n, service: a" + when + "}]\n- tag: y\n  entries: [{name: n, service: a" + when + "}]\n", []string{`line 5: lanes[1].entries[0].name: is "n", which lanes[0].entries[0] has: a name stands once in the document`}},
		{"service of RPC", lane("  - {name: n, service: b.rpc" + when + "}\n"), []string{`line 4: lanes[0].entries[0].service: is "b.rpc"; write "b": the name stands for its HTTP and its RPC endpoint`}},
		{"path", lane("  - {name: n, service: a, path: dubbo" + when + "}\n  - {name: m, service: a, path: '/a*b'" + when + "}\n"), []string{
			`line 4: lanes[0].entries[0].path: is "dubbo"; want a path that begins with /, exact, or a prefix with * at its end`,
			`line 5: lanes[0].entries[1].path: is "/a*b"; want a path that begins with /, exact, or a prefix with * at its end`,
		}},
		{"match", lane("  - {name: n, service: a, match: some" + when + "}\n"), []string{`line 4: lanes[0].entries[0].match: is "some"; want one of all, any`}},
		{"when empty", lane("  - {name: n, service: a, when: []}\n"), []string{"line 4: lanes[0].entries[0].when: is empty; want at least one condition"}},
		{"from missing", cond("{op: exists}"), []string{"line 4: lanes[0].entries[0].when[0].from: is missing; want one of header, query, cookie, path, method, ip, body, metainfo"}},
		{"from unknown", cond("{from: host, op: exists}"), []string{`line 4: lanes[0].entries[0].when[0].from: is "host"; want one of header, query, cookie, path, method, ip, body, metainfo`}},
		{"from of marks in an entry", cond("{from: property, key: k, op: exists}"), []string{`line 4: lanes[0].entries[0].when[0].from: is "property"; want one of header, query, cookie, path, method, ip, body, metainfo`}},
		{"from of entries in a mark", mark("{from: header, key: k, op: exists}"), []string{`line 3: marks[0].when[0].from: is "header"; want one of body, property, keys`}},
		{"key missing", cond("{from: header, op: exists}"), []string{"line 4: lanes[0].entries[0].when[0].key: is missing; header wants one"}},
		{"key too much", cond("{from: method, key: k, op: exists}"), []string{`line 4: lanes[0].entries[0].when[0].key: is "k"; method takes no key`}},
		{"key of keys", mark("{from: keys, key: k, op: exists}"), []string{`line 3: marks[0].when[0].key: is "k"; keys takes no key`}},
		{"key of a header", cond("{from: header, key: 'a b', op: exists}"), []string{`line 4: lanes[0].entries[0].when[0].key: is "a b", which is no header's name`}},
		{"key of a body", cond("{from: body, key: a..b, op: exists}"), []string{`line 4: lanes[0].entries[0].when[0].key: is "a..b"; want field names joined with dots, such as user.name`}},
		{"op missing", cond("{from: path}"), []string{"line 4: lanes[0].entries[0].when[0].op: is missing; want one of ==, !=, in, not-in, prefix, regex, exists, >, <, percent"}},
		{"op unknown", cond("{from: path, op: '=', value: x}"), []string{`line 4: lanes[0].entries[0].when[0].op: is "="; want one of ==, !=, in, not-in, prefix, regex, exists, >, <, percent`}},
		{"op of ip", cond("{from: ip, op: prefix, value: '10.'}"), []string{`line 4: lanes[0].entries[0].when[0].op: is "prefix"; ip takes one of ==, !=, in, not-in, exists, percent`}},
		{"ip", cond("{from: ip, op: in, value: [10.0.0.0/33, '::1', x]}"), []string{
			`line 4: lanes[0].entries[0].when[0].value[0]: is "10.0.0.0/33"; want an address or a CIDR, such as 10.0.0.1 or 10.0.0.0/8`,
			`line 4: lanes[0].entries[0].when[0].value[2]: is "x"; want an address or a CIDR, such as 10.0.0.1 or 10.0.0.0/8`,
		}},
		{"ip ==", cond("{from: ip, op: '==', value: 10.0.0.0/8}"), []string{`line 4: lanes[0].entries[0].when[0].value: is "10.0.0.0/8"; == takes an address, and in a list of addresses and CIDRs`}},
		{"value missing", cond("{from: path, op: '=='}"), []string{"line 4: lanes[0].entries[0].when[0].value: is missing; == takes one"}},
		{"value null", cond("{from: path, op: '==', value: }"), []string{`line 4: lanes[0].entries[0].when[0].value: is empty; want a text, a number or a list of them ("" is the empty text)`}},
		{"value a mapping", cond("{from: path, op: '==', value: {a: b}}"), []string{`line 4: lanes[0].entries[0].when[0].value: is a mapping; want a text, a number or a list of them ("" is the empty text)`}},
		{"value a list", cond("{from: path, op: '==', value: [a, b]}"), []string{"line 4: lanes[0].entries[0].when[0].value: is a list; == takes one value"}},
		{"value a list of one", cond("{from: path, op: '==', value: [a]}"), []string{`line 4: lanes[0].entries[0].when[0].value: is "a"; == takes one value, not a list`}},
		{"value no list", cond("{from: path, op: in, value: a}"), []string{`line 4: lanes[0].entries[0].when[0].value: is "a"; in takes a list, such as [a]`}},
		{"value an empty list", cond("{from: path, op: in, value: []}"), []string{"line 4: lanes[0].entries[0].when[0].value: is missing or empty; in takes a list, such as [a, b]"}},
		{"value of exists", cond("{from: path, op: exists, value: x}"), []string{"line 4: lanes[0].entries[0].when[0].value: exists takes no value"}},
		{"value of prefix", cond("{from: path, op: prefix, value: ''}"), []string{`line 4: lanes[0].entries[0].when[0].value: is "", which every value begins with; use exists`}},
		{"value of regex", cond("{from: path, op: regex, value: '('}"), []string{"line 4: lanes[0].entries[0].when[0].value: is \"(\"; want an RE2 regular expression: missing closing ): `(`"}},
		{"value of >", cond("{from: path, op: '>', value: 0x10}"), []string{`line 4: lanes[0].entries[0].when[0].value: is "0x10"; > takes a decimal number`}},
		{"value of percent", cond("{from: path, op: percent, value: 100.01}, {from: path, op: percent, value: 5.001}, {from: path, op: percent, value: -1}"), []string{
			`line 4: lanes[0].entries[0].when[0].value: is "100.01"; percent takes a number from 0 to 100 with at most two decimals`,
			`line 4: lanes[0].entries[0].when[1].value: is "5.001"; percent takes a number from 0 to 100 with at most two decimals`,
			`line 4: lanes[0].entries[0].when[2].value: is "-1"; percent takes a number from 0 to 100 with at most two decimals`,
		}},
		{"baseline", "messages:\n- {consumer: a, baseline: none}\n", []string{`line 2: messages[0].baseline: is "none"; want one of auto, all, ignore`}},
		{"consumer missing", "messages:\n- {baseline: all}\n", []string{"line 2: messages[0].consumer: is missing"}},
		{"ignore missing", "messages:\n- {consumer: a, baseline: ignore}\n", []string{"line 2: messages[0].ignore: is missing; baseline: ignore wants the tags of the lanes to ignore"}},
		{"ignore with all", "lanes: [{tag: gray}]\nmessages:\n- {consumer: a, baseline: all, ignore: [gray]}\n", []string{"line 3: messages[0].ignore: is only for baseline: ignore"}},
		{"ignore empty", "messages:\n- {consumer: a, baseline: ignore, ignore: []}\n", []string{"line 2: messages[0].ignore: is empty; want the tags of the lanes to ignore, or leave the field out"}},
		{"ignore unlisted", "messages:\n- {consumer: a, baseline: ignore, ignore: [gray]}\n", []string{`line 2: messages[0].ignore[0]: is "gray", which no lane of this document has`}},
		{"ignore twice", "lanes: [{tag: gray}]\nmessages:\n- {consumer: a, baseline: ignore, ignore: [gray, gray]}\n", []string{`line 3: messages[0].ignore[1]: is "gray" for the second time`}},
		{"filter", "messages:\n- {consumer: a, filter: sql}\n", []string{`line 2: messages[0].filter: is "sql"; want one of server, client`}},
		{"consumer twice", "messages:\n- {consumer: a, topic: T}\n- {consumer: a, topic: T, baseline: all}\n", []string{"line 3: messages[1]: the same consumer, group and topic as messages[0]: each may have one entry"}},
		{"mark unlisted", "marks:\n- {producer: c, topic: T, tag: gray, when: [{from: keys, op: exists}]}\n", []string{`line 2: marks[0].tag: is "gray", which no lane of this document has`}},
		{"mark with match", "lanes: [{tag: gray}]\nmarks:\n- {producer: c, topic: T, tag: gray, match: any, when: [{from: keys, op: exists}]}\n", []string{"line 3: marks[0].match: unknown field; want one of producer, topic, tag, when"}},
		{"all at once, by line", "lanes:\n- tag: Gray\n  colour: x\n  entries:\n  - name: n\n    when:\n    - {from: query, key: name, op: eq, value: x}\nrevision: none\n", []string{
			`line 2: lanes[0].tag: malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -`,
			"line 3: lanes[0].colour: unknown field; want one of tag, listed, state, until, propagate, colourFromNode, entries",
			"line 5: lanes[0].entries[0].service: is missing",
			`line 7: lanes[0].entries[0].when[0].op: is "eq"; want one of ==, !=, in, not-in, prefix, regex, exists, >, <, percent`,
			`line 8: revision: is "none"; want a whole number from 0`,
		}},
		{"line ends of Windows and a byte order mark", "\ufeffrevision: 1\r\n\r\nlanes:\r\n- tag: Gray\r\n", []string{`line 4: lanes[0].tag: malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -`}},
		{"no UTF-8", "revision: 1\n# \xff\n", []string{"line 2: is not UTF-8: byte 0xff"}},
		{"too large", strings.Repeat("# padding\n", MaxSize/10+1), []string{"262150 bytes, at most 262144 are read"}},
		{"too deep", strings.Repeat("[", 40000), []string{"line 1: nested more than 32 levels deep"}},
		{"too deep in dashes", strings.Repeat("- ", 40000), []string{"line 1: nested more than 32 levels deep"}},
		{"too wide in brackets", "{" + strings.Repeat("a: b,\n", 20000) + "}", []string{"line 65: a mapping with more than 64 fields"}},
		{"too deep in brackets", strings.Repeat("{a: ", 20000), []string{"line 1: nested more than 32 levels deep"}},
		{"too deep in keys", strings.Repeat("? ", 20000), []string{"line 1: nested more than 32 levels deep"}},
		{"too wide", strings.Repeat("a: b\n", 20000), []string{"line 65: a mapping with more than 64 fields"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			doc, err := Parse([]byte(tt.doc))
			if err == nil {
				t.Fatalf("accepted: %+v", doc)
			}
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v doesn't wrap ErrInvalid", err)
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if took := time.Since(start); took > time.Minute { // with the race detector, on a busy machine, 8 s were seen
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for name, doc := range map[string]string{
		"no lanes":                "revision: 1\n",
		"everything commented":    "revision: 1\nlanes:\n  # - tag: gray\nmessages:\nmarks: []\n",
		"document markers":        "---\nrevision: 1\n...\n",
		"one line":                "{revision: 1, lanes: [{tag: gray}]}",
		"quoted fields":           "\"revision\": 1\n'lanes': [{\"tag\": 'gray'}]\n",
		"JSON":                    `{"revision": 1, "lanes": [{"tag": "gray", "entries": [{"name": "n", "service": "a", "when": [{"from": "ip", "op": "in", "value": ["10.0.0.0/8", "::1"]}]}]}]}`,
		"windows":                 "revision: 1\r\nlanes:\r\n- tag: gray\r\n  entries:\r\n  - name: n\r\n    service: a\r\n    when:\r\n    - {from: path, op: exists}\r\n",
		"empty value":             cond("{from: query, key: name, op: '==', value: ''}"),
		"percent":                 cond("{from: query, key: name, op: percent, value: 0}, {from: ip, op: percent, value: 100}, {from: path, op: percent, value: 0.01}, {from: path, op: percent, value: 99.9}"),
		"consumers of all widths": "messages: [{consumer: a}, {consumer: a, group: g}, {consumer: a, topic: t}, {consumer: a, group: g, topic: t, filter: client, baseline: all}]",
		"wide but flat":           "lanes: [{tag: gray}]\nmarks:\n" + strings.Repeat("- producer: c\n  topic: t\n  tag: gray\n  when:\n  - from: keys\n    op: exists\n", 300),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(mustParse(t, doc)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCompileRefusesDocumentsMadeInGo(t *testing.T) {
	_, err := Compile(&Document{Revision: -1, Lanes: []Lane{{Tag: "Gray"}}})
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v, want ErrInvalid", err)
	}
	want := "revision: is -1; want a whole number from 0\n" +
		`lanes[0].tag: malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}
