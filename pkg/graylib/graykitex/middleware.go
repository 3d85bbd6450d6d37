package graykitex

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/endpoint/sep"
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
	return func(ctx context.Context, req, resp interface{}) error {
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
		ctx = context.WithValue(ctx, arrivalKey{}, &arrival{Arrival: a, ri: ri})
		args, isStream := req.(*streaming.Args)
		if isStream && args.ServerStream != nil {
			defer func() { sendTrailer(args.ServerStream, a) }()
		} else {
			defer a.Return(graylib.RPCKeys, carrier)
		}
		return next(ctx, req, resp)
	}
}

// sendTrailer puts the hops into a stream's trailer, which goes out when its handler has returned.
func sendTrailer(st streaming.ServerStream, a *graylib.Arrival) {
	back := graylib.MapCarrier{}
	a.Return(graylib.RPCKeys, back)
	_ = st.SetTrailer(streaming.Trailer(back)) // fails only where the stream is gone
}

// sendHopsFirst is for client streaming, where the caller is done with the one answer and doesn't see the trailer behind it: the
// hops go in the header, which is sent in front of the answer.
func sendHopsFirst(next sep.StreamSendEndpoint) sep.StreamSendEndpoint {
	return func(ctx context.Context, st streaming.ServerStream, message interface{}) error {
		a, ok := ctx.Value(arrivalKey{}).(*arrival)
		if ok && a.ri.Invocation().StreamingMode() == serviceinfo.StreamingClient {
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
