package rules

import (
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// t0 is when the lanes of the tests' documents were listed.
var t0 = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// fakeRequest is a request made of maps.
type fakeRequest struct {
	values map[source][]string
	body   string
	bodies int // how often the body was asked for
}

func (r *fakeRequest) Value(from graylib.From, key string, i int) (string, bool) {
	v := r.values[source{from, key}]
	if i >= len(v) {
		return "", false
	}
	return v[i], true
}

func (r *fakeRequest) Body() []byte {
	r.bodies++
	if r.body == "" {
		return nil
	}
	return []byte(r.body)
}

// request makes a request of triples from, key, value.
func request(triples ...string) *fakeRequest {
	r := &fakeRequest{values: map[source][]string{}}
	for i := 0; i < len(triples); i += 3 {
		k := source{graylib.From(triples[i]), triples[i+1]}
		r.values[k] = append(r.values[k], triples[i+2])
	}
	return r
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustParse(t testing.TB, content string) *Document {
	t.Helper()
	doc, err := Parse([]byte(content))
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, content)
	}
	return doc
}

func mustCompile(t testing.TB, content string) *Rules {
	t.Helper()
	r, err := Compile(mustParse(t, content))
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	return r
}

// referenceBucket computes a bucket by other means than the package.
func referenceBucket(tag, value string) int {
	h := fnv.New64a()
	_, _ = io.WriteString(h, tag+"\x00"+value)
	k := h.Sum64()
	k = (k ^ k>>33) * 0xff51afd7ed558ccd
	k = (k ^ k>>33) * 0xc4ceb9fe1a85ec53
	return int((k ^ k>>33) % 10000)
}
