package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

const root = "../.."

// TestFresh compares the committed schemas with those that the types make.
func TestFresh(t *testing.T) {
	for _, f := range files {
		want, err := f.generate(root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(root, f.name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the types make; run go generate ./pkg/graylib/rules (-want +got):\n%s", f.name, diff)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema { return compiledOf(t, generate, string(schemaID)) }

func compiledOf(t *testing.T, generate func(string) ([]byte, error), id string) *jsonschema.Schema {
	t.Helper()
	text, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate asks the schema as an editor does.
func validate(t *testing.T, s *jsonschema.Schema, content string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func cond(c string) string {
	return "lanes:\n- tag: gray\n  entries:\n  - {name: n, service: a, when: [" + c + "]}\n"
}

func mark(c string) string {
	return "lanes: [{tag: gray}]\nmarks:\n- {producer: c, topic: T, tag: gray, when: [" + c + "]}\n"
}

func TestGoodForBoth(t *testing.T) {
	s := compiled(t)
	design, err := os.ReadFile(filepath.Join(root, rulesPackage, "testdata", "design.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{
		string(design),
		"{}\n",
		"revision: 3\nlanes:\nmessages:\nmarks:\n",
		"lanes: [{tag: gray, listed: 2026-11-22T10:00:00Z, state: retired, until: 2026-11-23T10:00:00.5Z, propagate: false, colourFromNode: true, entries: }]\n",
		cond("{from: query, key: name, op: '==', value: 007}, {from: header, key: x-a, op: '!=', value: ''}, {from: cookie, key: c, op: '==', value: true}"),
		cond("{from: path, op: prefix, value: /a}, {from: path, op: regex, value: '^/a'}, {from: method, op: in, value: [GET, 1]}, {from: method, op: not-in, value: [x]}"),
		cond("{from: metainfo, key: K, op: exists}, {from: body, key: a.b, op: '>', value: 1.5}, {from: body, key: a, op: '<', value: '-1e3'}"),
		cond("{from: header, key: k, op: percent, value: 5}, {from: header, key: k, op: percent, value: '33.33'}, {from: ip, op: percent, value: 100}"),
		cond("{from: ip, op: in, value: [10.0.0.0/8, '::1']}, {from: ip, op: '==', value: 10.0.0.1}, {from: ip, op: exists}"),
		mark("{from: property, key: region, op: '==', value: eu}, {from: keys, op: prefix, value: order-}, {from: body, key: a, op: exists}"),
		"lanes: [{tag: gray}]\nmessages: [{consumer: a}, {consumer: a, group: g, topic: t, baseline: ignore, ignore: [gray], filter: client}, {consumer: b, baseline: all}]\n",
	} {
		if _, err := rules.Parse([]byte(doc)); err != nil {
			t.Errorf("the parser refuses:\n%s%v", doc, err)
		}
		if err := validate(t, s, doc); err != nil {
			t.Errorf("the schema refuses:\n%s%v", doc, err)
		}
	}
}

// TestBadForBoth holds what a schema can tell; names that stand twice, lanes that aren't listed and the like it can't.
func TestBadForBoth(t *testing.T) {
	s := compiled(t)
	const when = ", when: [{from: path, op: exists}]"
	for _, doc := range []string{
		"revison: 1\n",
		"revision: -1\n",
		"revision: x\n",
		"revision: 1.5\n",
		"lanes: gray\n",
		"lanes: [gray]\n",
		"lanes: [{state: active}]\n",
		"lanes: [{tag: Gray}]\n",
		"lanes: [{tag: baseline}]\n",
		"lanes: [{tag: 7}]\n",
		"lanes: [{tag: -a}]\n",
		"lanes: [{tag: abcdefghijklmnopqrstuvwxyzabcdefg}]\n",
		"lanes: [{tag: gray, colour: x}]\n",
		"lanes: [{tag: gray, state: off}]\n",
		"lanes: [{tag: gray, listed: today}]\n",
		"lanes: [{tag: gray, until: 2026-11-22T10:00:00Z}]\n",
		"lanes: [{tag: gray, state: active, until: 2026-11-22T10:00:00Z}]\n",
		"lanes: [{tag: gray, propagate: 'yes'}]\n",
		"lanes: [{tag: gray, entries: [{service: a" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: a}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: a, when: []}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: b.rpc" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: 'a b'" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: a, path: dubbo" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: a, path: '/a*b'" + when + "}]}]\n",
		"lanes: [{tag: gray, entries: [{name: n, service: a, match: some" + when + "}]}]\n",
		cond("{op: exists}"),
		cond("{from: path}"),
		cond("{from: host, op: exists}"),
		cond("{from: property, key: k, op: exists}"),
		mark("{from: header, key: k, op: exists}"),
		cond("{from: header, op: exists}"),
		cond("{from: path, key: k, op: exists}"),
		mark("{from: keys, key: k, op: exists}"),
		cond("{from: path, op: '=', value: x}"),
		cond("{from: path, op: '=='}"),
		cond("{from: path, op: '==', value: }"),
		cond("{from: path, op: '==', value: [a]}"),
		cond("{from: path, op: '==', value: {a: b}}"),
		cond("{from: path, op: in, value: a}"),
		cond("{from: path, op: in, value: []}"),
		cond("{from: path, op: in, value: [[a]]}"),
		cond("{from: path, op: exists, value: x}"),
		cond("{from: path, op: prefix, value: ''}"),
		cond("{from: path, op: regex, value: ''}"),
		cond("{from: path, op: '>', value: x}"),
		cond("{from: path, op: percent, value: 101}"),
		cond("{from: path, op: percent, value: -1}"),
		cond("{from: path, op: percent, value: '5.001'}"),
		cond("{from: ip, op: prefix, value: '10.'}"),
		cond("{from: ip, op: '>', value: 1}"),
		"messages: [{baseline: all}]\n",
		"messages: [{consumer: a, baseline: none}]\n",
		"messages: [{consumer: a, baseline: ignore}]\n",
		"messages: [{consumer: a, baseline: ignore, ignore: []}]\n",
		"lanes: [{tag: gray}]\nmessages: [{consumer: a, baseline: all, ignore: [gray]}]\n",
		"messages: [{consumer: a, filter: sql}]\n",
		"marks: [{topic: T, tag: gray}]\n",
		"lanes: [{tag: gray}]\nmarks: [{producer: c, topic: T, tag: gray, match: any" + when + "}]\n",
		"[]\n",
		"text\n",
	} {
		if _, err := rules.Parse([]byte(doc)); err == nil {
			t.Errorf("the parser takes:\n%s", doc)
		}
		if err := validate(t, s, doc); err == nil {
			t.Errorf("the schema takes:\n%s", doc)
		}
	}
}
