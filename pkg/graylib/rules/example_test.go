package rules_test

import (
	"fmt"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// query is a request that has query parameters alone.
type query map[string]string

func (q query) Value(from graylib.From, key string, i int) (string, bool) {
	v, ok := q[key]
	return v, ok && from == graylib.FromQuery && i == 0
}

func (query) Body() []byte { return nil }

func ExampleCompile() {
	doc, err := rules.Parse([]byte(`
revision: 1
lanes:
- tag: gray
  entries:
  - {name: xiaoming, service: a, when: [{from: query, key: name, op: "==", value: xiaoming}]}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := rules.Compile(doc)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"xiaoming", "lisi"} {
		decision, coloured := r.Colour("a", query{"name": name})
		fmt.Println(name, coloured, decision.Tag, decision.Entry)
	}
	// Output:
	// xiaoming true gray xiaoming
	// lisi false -
}

func ExampleParse_problems() {
	_, err := rules.Parse([]byte(`lanes:
- tag: Gray
  colour: blue
`))
	fmt.Println(err)
	// Output:
	// line 2: lanes[0].tag: malformed tag "Gray": want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -
	// line 3: lanes[0].colour: unknown field; want one of tag, listed, state, until, propagate, colourFromNode, entries
}

func ExamplePrepare() {
	content := []byte(`lanes:
- tag: gray # the lane of the new versions
`)
	next, err := rules.Prepare(content, nil, time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	fmt.Printf("%s%v\n", next, err)
	// Output:
	// revision: 1
	// lanes:
	// - tag: gray # the lane of the new versions
	//   listed: 2026-11-22T10:00:00Z
	// <nil>
}
