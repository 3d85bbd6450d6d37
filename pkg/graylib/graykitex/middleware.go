package graykitex

import (
	"context"
	"net"

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

type arrival struct {
	*graylib.Arrival
	ri rpcinfo.RPCInfo
}

// serve is the server's middleware, for calls and streams alike.
func (r *registrar) serve(next endpoint.Endpoint) endpoint.Endpoint {
	o := r.o
	return func(ctx context.Context, req, resp interface{}) (err error) {
		ri := rpcinfo.GetRPCInfo(ctx)
		if a, ok := ctx.Value(arrivalKey{}).(*arrival); ok && a.ri == ri {
			return next(ctx, req, resp) // the suite was applied twice
		}
		r.checkTransport(ri)
		r.serving.Add(1)
		defer r.serving.Add(-1)
		carrier := arrivedCarrier{ctx}
		if from := ri.From(); from != nil && from.Address() != nil {
			ctx = graylib.WithClientIP(ctx, hostOf(from.Address()))
		}
		ctx, a := o.rt.Arrive(ctx, graylib.ProtocolRPC, graylib.RPCKeys, carrier)
		args, isStream := req.(*streaming.Args)
		if t := o.rt.Telemetry(); t != nil {
			var ended func(graylib.Outcome)
			ctx, ended = t.Arrived(ctx, graylib.Arriving{
				Hop: a.Hop(), Method: ri.Invocation().MethodName(), Route: route(ri), Stream: isStream,
			})
			defer func() { ended(outcome(ri, err)) }()
		}
		ctx = context.WithValue(ctx, arrivalKey{}, &arrival{Arrival: a, ri: ri})
		if isStream && args.ServerStream != nil {
			defer func() { sendTrailer(args.ServerStream, a) }()
		} else {
			defer func() { answer(ctx, ri, a, carrier) }()
		}
		return next(ctx, req, resp)
	}
}

// answer gives the hops of a call back: with the answer's metainfo, which gRPC has no place for, or in gRPC's header, which is
// sent in front of the answer or the error.
func answer(ctx context.Context, ri rpcinfo.RPCInfo, a *graylib.Arrival, carrier arrivedCarrier) {
	if ri.Config().TransportProtocol()&transport.GRPC == 0 {
		a.Return(graylib.RPCKeys, carrier)
		return
	}
	back := graylib.MapCarrier{}
	a.Return(graylib.RPCKeys, back)
	_ = nphttp2.SetHeader(ctx, metadata.New(back)) // fails only where the call is gone
}

// sendTrailer puts the hops into a stream's trailer, which goes out when its handler has returned.
func sendTrailer(st streaming.ServerStream, a *graylib.Arrival) {
	back := graylib.MapCarrier{}
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
		if ok && oneAnswer(a.ri) {
			back := graylib.MapCarrier{}
			a.Return(graylib.RPCKeys, back)
			_ = st.SetHeader(streaming.Header(back)) // fails where the header was sent already
		}
		return next(ctx, st, message)
	}
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return ""
	}
	return host
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
