package rules

import (
	"strings"
	"testing"
	"time"
)

// FuzzParse feeds any text to the reader, and what it accepts to everything that follows.
func FuzzParse(f *testing.F) {
	f.Add(string(readFile(f, "design.yaml")), "/dubbo", "xiaoming", `{"user":{"name":"xiaoming"}}`)
	f.Add(twoLanes, "/v2/x", "1", "[1]")
	f.Add(cond("{from: ip, op: in, value: [10.0.0.0/8, '::1']}"), "/", "10.1.2.3", "")
	f.Add(cond("{from: query, key: name, op: regex, value: '^(a|b)+$'}"), "/", "abab", "{")
	f.Add(cond("{from: query, key: name, op: '>', value: -1e3}"), "/", "9223372036854775808", "{}")
	f.Add(mark("{from: keys, op: not-in, value: [a, 1, true]}"), "", "", "null")
	f.Add("\ufeff---\r\n# é\r\nlanes: [{\"tag\": 'gray'}]\r\n...", "", "", "")
	f.Add("lanes: &a [*a, !!map {<<: 1}, ? x]\n", "", "", "")
	f.Fuzz(func(t *testing.T, content, path, value, body string) {
		doc, err := Parse([]byte(content))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("refused without a reason")
			}
			for l := range strings.Lines(err.Error()) {
				if len(l) > 1000 {
					t.Errorf("a problem of %d bytes", len(l))
				}
			}
			// What could not be read must still be safe to salvage.
			readPublished([]byte(content))
			return
		}
		r, err := Compile(doc)
		if err != nil {
			t.Fatalf("Parse takes what Compile refuses: %v", err)
		}
		req := request("path", "", path, "method", "", value, "ip", "", value, "keys", "", value)
		req.body = body
		for _, l := range doc.Lanes {
			for _, e := range l.Entries {
				for _, c := range e.When {
					req.values[source{c.From, c.Key}] = []string{value}
				}
				got, ok := r.Colour(e.Service, req)
				if ex := Explain(r, e.Service, req); ex.Coloured != ok || ex.Tag != got.Tag || ex.Entry != got.Entry {
					t.Errorf("Colour = %+v, Explain = %+v", got, ex)
				}
			}
		}
		for _, m := range doc.Marks {
			if tag, ok := r.Mark(m.Producer, m.Topic, req); ok {
				if _, listed := r.Lane(tag); !listed {
					t.Errorf("marked %q, which isn't listed", tag)
				}
			}
		}
		for _, c := range doc.Messages {
			r.Consumption(c.Consumer, c.Group, c.Topic)
		}
		next, err := Prepare([]byte(content), nil, time.Now())
		if err != nil {
			return // a layout that can't be edited
		}
		prepared, err := Parse(next)
		if err != nil {
			t.Fatalf("prepared a document that isn't read: %v", err)
		}
		if err := CheckTransition(nil, prepared, Reading{At: time.Now()}); err != nil {
			t.Errorf("prepared a document that may not be published: %v", err)
		}
	})
}
