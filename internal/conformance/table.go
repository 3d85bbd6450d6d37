package conformance

import (
	"fmt"
	"strings"

	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// Table renders the declarations and the suite's checks as docs/conformance.md.
func Table() string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("| adapter | hop | chooses the instance | tries the next | reason in the hop | comes back | rules see | `colourFromNode` | can be the edge | cancellation reaches | |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, d := range Declarations {
		f := d.Features
		hop, back := string(f.Protocol), "hops, messages"
		switch {
		case f.Protocol == "":
			hop, back = "in the process", "messages"
		case f.Marks:
			hop += ", marked"
		}
		if !f.Hops {
			back = no
		}
		var sources []string
		for _, from := range f.Sources {
			sources = append(sources, string(from))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", d.Name, hop, yes(f.Chooses), yes(f.FailsOver),
			yes(f.Reason), back, or(strings.Join(sources, ", ")), yes(f.NodeColour), yes(f.Edge), reach(f), f.Notes)
	}
	b.WriteString(checksIntro)
	b.WriteString("| check | a failure quotes |\n|---|---|\n")
	for _, c := range graylibtest.Checks() {
		fmt.Fprintf(&b, "| %s | %s |\n", c[0], c[1])
	}
	b.WriteString(outro)
	return b.String()
}

const no = "–"

func yes(b bool) string {
	if b {
		return "yes"
	}
	return no
}

func or(s string) string {
	if s == "" {
		return no
	}
	return s
}

func reach(f graylibtest.Features) string {
	switch {
	case f.Cancels == graylibtest.CancelsCall:
		return "the call"
	case f.Cancels == graylibtest.CancelsHandler && f.Answers:
		return "the call and the callee"
	case f.Cancels == graylibtest.CancelsHandler:
		return "the callee"
	}
	return no
}

const intro = `<!-- Made by go generate ./internal/conformance; a test holds it to the declarations. -->
# What each adapter carries, and how that is known

Every adapter that carries a tag declares its features, and passes one suite with that declaration:
` + "`graylibtest.Run`" + `. What is declared is checked to work; what isn't is checked to be absent as the declaration says. So the table is
neither too long nor too short. Each adapter's test is ` + "`TestConformance`" + ` in its own folder; grayrocketmq's runs on a real broker.

All of them carry the tag, the request id and the W3C trace, and take a malformed tag for none.

`

const checksIntro = `
- *chooses the instance*: the tag decides who handles it, the lane's instance or the baseline. *tries the next*: where an instance refuses
  the connection, within the same call.
- *comes back*: hops and messages of those below join the caller's chain.
- *rules see*: where conditions of entries, or for messages of marks, can look ([rules.md](rules.md)).
- *cancellation reaches*: what ends when the caller's context does. Where there is a dash the work goes on.

## The checks

`

const outro = `
Faults for the suite itself are in ` + "`pkg/graylib/graylibtest/faults_test.go`" + `: adapters with mistakes, each of which a named check must find.

## An adapter of your own

Write a ` + "`graylib.Carrier`" + ` over what your framework calls headers; call ` + "`Runtime.Arrive` and `Arrival.Return`" + ` at the server, ` +
	"`Runtime.Depart`, `Call.Next`, `Call.Inject` and `Call.Return`" + ` at the client. Then have it checked:

` + "```go" + `
func TestConformance(t *testing.T) {
	graylibtest.Run(t, graylibtest.Harness{
		Name: "courier",
		Features: graylibtest.Features{
			Protocol: graylib.ProtocolRPC, Keys: graylib.HTTPKeys,
			Answers: true, Reason: true, Hops: true, Chooses: true, FailsOver: true, NodeColour: true,
			Cancels: graylibtest.CancelsHandler,
		},
		Open: func(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
			// start s.Callees, make a client for s.Caller, and return how to call
		},
	})
}
` + "```" + `

` + "`pkg/graylib/graylibtest/external_test.go`" + ` is such an adapter for an imaginary framework, whole, in some 150 lines. What hands work over within a
process (a pool, a queue) has a shorter harness: ` + "`graylibtest.InProcess`" + `.
`
