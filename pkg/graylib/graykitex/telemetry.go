package graykitex

import (
	"context"
	"sync"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"

	"github.com/graychain/graychain/pkg/graylib"
)

// route is how telemetry names a method: /Service/Method.
func route(ri rpcinfo.RPCInfo) string {
	return "/" + ri.Invocation().ServiceName() + "/" + ri.Invocation().MethodName()
}

// outcome is how a call ended: err, or else the error of its business, which Kitex keeps apart.
func outcome(ri rpcinfo.RPCInfo, err error) graylib.Outcome {
	if err == nil {
		if biz := ri.Invocation().BizStatusErr(); biz != nil {
			err = biz
		}
	}
	return graylib.Outcome{Err: err}
}

// streamError is what a stream that has ended failed with, or nil.
func streamError(ri rpcinfo.RPCInfo) error {
	if stats := ri.Stats(); stats != nil {
		return stats.Error()
	}
	return nil
}

// tell tells telemetry that a call or stream goes out, and keeps for later how to tell its end.
func (d *departure) tell(ctx context.Context, t graylib.Telemetry, endpoint string, isStream bool) context.Context {
	ctx, ended := t.Departed(ctx, d.Call(), graylib.Departing{
		Endpoint: endpoint, Protocol: graylib.ProtocolRPC, Method: d.ri.Invocation().MethodName(), Route: route(d.ri), Stream: isStream,
	})
	var once sync.Once
	d.further().ended = func(o graylib.Outcome) { once.Do(func() { ended(o) }) }
	return ctx
}

// traceStreams has the ends of streams told: Kitex says to tracers alone what a stream failed with. The detailed statistics
// that it collects for a tracer are left off, unless the application has them.
func traceStreams(co *client.Options) {
	if co.StatsLevel == nil && !co.TracerCtl.HasTracer() {
		level := stats.LevelDisabled
		co.StatsLevel = &level
	}
	co.TracerCtl.Append(streamTracer{})
}

type streamTracer struct{}

var _ stats.Tracer = streamTracer{}

// Start implements [stats.Tracer].
func (streamTracer) Start(ctx context.Context) context.Context { return ctx }

// Finish implements [stats.Tracer]. Of a stream the context is that of its departure; of a call, whose middleware tells its
// end, it is an outer one. A stream that couldn't be made has none either.
func (streamTracer) Finish(ctx context.Context) {
	ri := rpcinfo.GetRPCInfo(ctx)
	if d := departureOf(ctx, ri); d != nil && d.more != nil && d.more.ended != nil {
		d.more.ended(outcome(ri, streamError(ri)))
	}
}
