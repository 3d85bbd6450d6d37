// Package conformance holds what each adapter declares of itself for the suite of package graylibtest. The adapters' own
// tests run the suite with these declarations, and the table in docs/conformance.md is made of them.
package conformance

//go:generate go test -run ^TestTable$ -update .

import (
	"slices"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// Declaration is one adapter, used in one way.
type Declaration struct {
	Name     string // the package, and the way
	Package  string // its folder below pkg/graylib, where the suite is run
	Features graylibtest.Features
}

// Of returns the declaration of that name. There is one: a wrong name is a mistake of the test that asks, and panics.
func Of(name string) Declaration {
	i := slices.IndexFunc(Declarations, func(d Declaration) bool { return d.Name == name })
	if i < 0 {
		panic("conformance: no declaration " + name)
	}
	return Declarations[i]
}

// What rules see of requests over HTTP, of calls over RPC and of messages.
var (
	httpSources = []graylib.From{
		graylib.FromHeader, graylib.FromQuery, graylib.FromCookie, graylib.FromPath, graylib.FromMethod, graylib.FromIP, graylib.FromBody,
	}
	rpcSources     = []graylib.From{graylib.FromMetainfo, graylib.FromMethod, graylib.FromPath, graylib.FromIP}
	messageSources = []graylib.From{graylib.FromBody, graylib.FromProperty, graylib.FromKeys}
)

// Declarations are all adapters that carry a tag, in the order of the table. The slice must not be changed.
var Declarations = []Declaration{
	{"grayhttp", "grayhttp", graylibtest.Features{
		Protocol: graylib.ProtocolHTTP, Keys: graylib.HTTPKeys,
		Answers: true, Reason: true, Hops: true, Chooses: true, FailsOver: true, Duplicates: true, Edge: true, NodeColour: true,
		Sources: httpSources, Cancels: graylibtest.CancelsHandler,
	}},
	{"grayhertz", "grayhertz", graylibtest.Features{
		Protocol: graylib.ProtocolHTTP, Keys: graylib.HTTPKeys,
		Answers: true, Reason: true, Hops: true, Chooses: true, FailsOver: true, Duplicates: true, Edge: true, NodeColour: true,
		Sources: httpSources, Cancels: graylibtest.CancelsNothing,
		Notes: "Hertz's client knows deadlines, not cancellation",
	}},
	{"graykitex, unary", "graykitex", rpc(graylibtest.CancelsCall, "")},
	{"graykitex, bidirectional stream", "graykitex", rpc(graylibtest.CancelsHandler, "the tag is fixed when the stream is created")},
	{"graykitex, client stream", "graykitex", rpc(graylibtest.CancelsHandler, "hops come back in the header")},
	{"graykitex, server stream", "graykitex", rpc(graylibtest.CancelsHandler, "")},
	{"graykitex, unary over gRPC", "graykitex", rpc(graylibtest.CancelsHandler, "")},
	{"graykitex, streams over gRPC", "graykitex", rpc(graylibtest.CancelsHandler, "all three kinds")},
	{"grayrocketmq", "grayrocketmq", graylibtest.Features{
		Protocol: graylib.ProtocolMQ, Keys: graylib.MessageKeys,
		Reason: true, Chooses: true, NodeColour: true, Sources: messageSources, Marks: true,
		Notes: "the consumer groups choose; the consumer says why",
	}},
	{"graylib.Go", ".", graylibtest.Features{Hops: true, Cancels: graylibtest.CancelsHandler}},
	{"graylib.Detach", ".", graylibtest.Features{Notes: "has left the request: its calls don't join the answer's hops"}},
	{"grayants", "grayants", graylibtest.Features{Hops: true, Cancels: graylibtest.CancelsHandler, Notes: "panjf2000/ants"}},
	{"graygopool", "graygopool", graylibtest.Features{Hops: true, Cancels: graylibtest.CancelsHandler, Notes: "bytedance/gopkg/util/gopool"}},
	{"grayerrgroup", "grayerrgroup", graylibtest.Features{Answers: true, Hops: true, Cancels: graylibtest.CancelsHandler, Notes: "golang.org/x/sync/errgroup"}},
}

func rpc(cancels graylibtest.Cancellation, notes string) graylibtest.Features {
	return graylibtest.Features{
		Protocol: graylib.ProtocolRPC, Keys: graylib.RPCKeys,
		Answers: true, Reason: true, Hops: true, Chooses: true, FailsOver: true, NodeColour: true,
		Sources: rpcSources, Cancels: cancels, Notes: notes,
	}
}
