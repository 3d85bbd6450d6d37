package graykitex

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/endpoint/sep"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/metadata"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
)

// arrivalKey holds the *arrival of the call that a context serves.
type arrivalKey struct{}

// arrival is one call or stream that arrived. It is the context that it is served in, so that one allocation does for both.
type arrival struct {
	graylib.Arrived
	ri rpcinfo.RPCInfo

	// Of a call whose values were taken straight out of the message, see serverMeta.
	read     context.Context                // that it was read in
	lazy     atomic.Pointer[metainfoValues] // nil: nobody has asked for any
	tagged   bool                           // the caller has sent a tag, and a well-formed one
	straight bool

	served bool // by our middleware
}

// Value implements [context.Context].
func (a *arrival) Value(key any) any {
	if _, ok := key.(arrivalKey); ok {
		return a
	}
	if key == rpcinfoKey {
		return a.ri
	}
	if a.straight && key == metainfoKey {
		return a.metainfo()
	}
	return a.Arrived.Value(key)
}

// before is an arrival as the context of its call between its being read and our middleware: for handlers of messages, tracers, and
// middlewares that come first.
type before arrival

// Value implements [context.Context]. Metainfo's own values are not ours yet: Kitex is still about to change them.
func (b *before) Value(key any) any {
	if _, ok := key.(arrivalKey); ok {
		return (*arrival)(b)
	}
	switch key {
	case rpcinfoKey:
		return b.ri
	case backwardKey:
		return (*arrival)(b).toSend()
	}
	if v, ok := b.Own(key); ok {
		return v
	}
	return b.read.Value(key)
}

// Deadline implements [context.Context].
func (b *before) Deadline() (time.Time, bool) { return b.read.Deadline() }

// Done implements [context.Context].
func (b *before) Done() <-chan struct{} { return b.read.Done() }

// Err implements [context.Context].
func (b *before) Err() error { return b.read.Err() }

// serve is the server's middleware, for calls and streams alike.
func (r *registrar) serve(next endpoint.Endpoint) endpoint.Endpoint {
	o := r.o
	return func(ctx context.Context, req, resp interface{}) (err error) {
		ri := rpcinfo.GetRPCInfo(ctx)
		a, ok := ctx.Value(arrivalKey{}).(*arrival)
		if !ok || a.ri != ri {
			a = &arrival{ri: ri}
			o.rt.ArriveIn(&a.Arrived, graylib.ProtocolRPC, &graylib.RPCKeys, arrivedCarrier{ctx})
		}
		if a.served {
			return next(ctx, req, resp) // the suite was applied twice
		}
		a.served = true
		if !a.straight {
			r.checkTransport(ri)
		}
		r.serving.Add(1)
		defer r.serving.Add(-1)
		if a.straight && metainfoKey == nil {
			ctx = a.taken(ctx)
		}
		a.Context = ctx
		ctx = a
		if from := ri.From(); from != nil {
			a.SetClientAddr(from.Address())
		}
		args, isStream := req.(*streaming.Args)
		if t := o.rt.Telemetry(); t != nil {
			var ended func(graylib.Outcome)
			ctx, ended = t.Arrived(ctx, graylib.Arriving{
				Hop: a.Arrival().Hop(), Method: ri.Invocation().MethodName(), Route: route(ri), Stream: isStream,
			})
			defer func() { ended(outcome(ri, err)) }()
		}
		switch {
		case isStream && args.ServerStream != nil:
			defer func() { sendTrailer(args.ServerStream, a.Arrival()) }()
		case a.Arrival().Asked() && !a.straight: // what came straight goes back straight, see serverMeta
			defer a.answer()
		}
		return next(ctx, req, resp)
	}
}

// answer gives the hops of a call back where they can't be written straight: with the answer's metainfo, which gRPC has no place for, or in gRPC's header, which is
// sent in front of the answer or the error.
func (a *arrival) answer() {
	if a.ri.Config().TransportProtocol()&transport.GRPC == 0 {
		a.Arrival().Return(graylib.RPCKeys, arrivedCarrier{a})
		return
	}
	back := graylib.MapCarrier{}
	a.Arrival().Return(graylib.RPCKeys, back)
	_ = nphttp2.SetHeader(a, metadata.New(back)) // fails only where the call is gone
}

// sendTrailer puts the hops into a stream's trailer, which goes out when its handler has returned. It is never left empty: over
// TTHeader an empty one can't be told from none, and by the trailer a caller knows that the callee ended the stream.
func sendTrailer(st streaming.ServerStream, a *graylib.Arrival) {
	back := graylib.MapCarrier{graylib.RPCKeys.Hops: ""}
	a.Return(graylib.RPCKeys, back)
	_ = st.SetTrailer(streaming.Trailer(back)) // fails only where the stream is gone
}

// oneAnswer tells whether a caller is done with one answer, and so doesn't wait for a trailer behind it.
func oneAnswer(ri rpcinfo.RPCInfo) bool {
	switch ri.Invocation().StreamingMode() {
	case serviceinfo.StreamingBidirectional, serviceinfo.StreamingServer:
		return false
	}
	return true
}

// sendHopsFirst is for client streaming, and for gRPC's calls that are served as streams (protobuf): the hops go in the header,
// which is sent in front of the answer.
func sendHopsFirst(next sep.StreamSendEndpoint) sep.StreamSendEndpoint {
	return func(ctx context.Context, st streaming.ServerStream, message interface{}) error {
		a, ok := ctx.Value(arrivalKey{}).(*arrival)
		if ok && a.Arrival().Asked() && oneAnswer(a.ri) {
			back := graylib.MapCarrier{}
			a.Arrival().Return(graylib.RPCKeys, back)
			_ = st.SetHeader(streaming.Header(back)) // fails where the header was sent already
		}
		return next(ctx, st, message)
	}
}

// checkTransport says once that calls arrive on which no tag can be. They may come from outside the mesh, where there is none; from
// within, their callers have the wrong transport. A server can't refuse to start for it: Kitex serves all transports at one port.
func (r *registrar) checkTransport(ri rpcinfo.RPCInfo) {
	tp := ri.Config().TransportProtocol()
	if tp&(transport.TTHeader|transport.GRPC|transport.TTHeaderStreaming) != 0 {
		return
	}
	r.logTransport.Do(func() {
		caller := ""
		if from := ri.From(); from != nil && from.Address() != nil {
			caller = from.Address().String()
		}
		r.o.rt.Logger().Warn("a call came over a transport that can't carry a tag, and counts as untagged; "+
			"callers of the mesh want client.WithTransportProtocol(transport.TTHeaderFramed); further ones are not logged",
			"transport", tp.String(), "caller", caller)
	})
}
