package graykitex

import (
	"context"
	"sync"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

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
	ctx, ended := t.Departed(ctx, d.call, graylib.Departing{
		Endpoint: endpoint, Protocol: graylib.ProtocolRPC, Method: d.ri.Invocation().MethodName(), Route: route(d.ri), Stream: isStream,
	})
	var once sync.Once
	d.ended = func(o graylib.Outcome) { once.Do(func() { ended(o) }) }
	return ctx
}
