package graykitex

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/metadata"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/rpcinfo/remoteinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
)

// departure is one call, or the creation of one stream, on its way out. It is the context in which it is made, so that one
// allocation does for both.
type departure struct {
	graylib.Departed
	ri     rpcinfo.RPCInfo
	table  *graylib.Table // nil: nothing is chosen here
	reason graylib.Reason // of the first try, see firstTry
	tried  bool           // there was one
	direct bool           // what it carries is written straight into the message

	more *further // nil until it is needed; a stream's and that of a call over gRPC is there from the start
}

// further is what few calls need of their departure.
type further struct {
	// Both are written by the goroutine that makes the call.
	noInstance error // why the picker had none
	lastDial   error // why the last instance was given up

	streamBegan time.Time // when a stream departed

	back     comingBack // with a unary answer
	returned sync.Once

	ended func(graylib.Outcome) // tells telemetry, the first time alone; may be nil
}

// further returns the place for the rest. It is called by the goroutine that makes the call; of a stream, and over gRPC, by any.
func (d *departure) further() *further {
	if d.more == nil {
		d.more = &further{}
	}
	return d.more
}

// Value implements [context.Context].
func (d *departure) Value(key any) any {
	if key == rpcinfoKey {
		return d.ri
	}
	switch key.(type) {
	case departureKey:
		return d
	case tryKey:
		return nil // that of a call which this one is made within is none of ours
	}
	return d.Departed.Value(key)
}

// comeBack takes in what the callee of a stream sent back, once.
func (d *departure) comeBack(values map[string]string) {
	if values[graylib.RPCKeys.Hops] == "" {
		return
	}
	d.comeBackWith(backCarrier(values))
}

func (d *departure) comeBackWith(c graylib.Carrier) {
	d.further().returned.Do(func() { d.Call().Return(graylib.RPCKeys, c) })
}

// depart is the client's outer middleware: it comes before Kitex resolves the service.
func (c *clientSide) depart(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, req, resp interface{}) (err error) {
		ri := rpcinfo.GetRPCInfo(ctx)
		_, isStream := resp.(*streaming.Result)
		protocol := ri.Config().TransportProtocol()
		d := &departure{ri: ri, direct: !isStream && direct(protocol)}
		if isStream {
			d.further().streamBegan = time.Now()
		} else if protocol&transport.GRPC != 0 {
			d.further() // Kitex's reader has the call's events, and may be late with them
		}
		c.rt.DepartIn(ctx, &d.Departed, c.endpoint, (*requestView)(d))
		ctx = d
		if t := c.rt.Telemetry(); t != nil {
			ctx = d.tell(ctx, t, c.endpoint, isStream)
			defer func() {
				if !isStream || err != nil { // a stream ends later
					d.more.ended(outcome(ri, err))
				}
			}()
		}
		if c.discovers && !addressed(ri) {
			if d.table, err = c.tableOf(ctx); err != nil {
				d.table = nil
				return kerrors.ErrServiceDiscovery.WithCause(fmt.Errorf("%w of service %q: %w", graylib.ErrNoInstance, c.endpoint, err))
			}
		}
		if c.proxied { // send is not called
			d.direct = false
			ctx = inject(ctx, d.Call())
		}
		err = next(ctx, req, resp)
		if d.more == nil {
			return err
		}
		if d.more.noInstance != nil && errors.Is(err, kerrors.ErrNoMoreInstance) {
			cause := d.more.noInstance
			if d.more.lastDial != nil {
				cause = fmt.Errorf("%w; last: %w", cause, d.more.lastDial)
			}
			err = kerrors.ErrNoMoreInstance.WithCause(cause)
		}
		if !isStream && d.more.back.hops != "" {
			d.comeBackWith(&d.more.back)
		}
		return err
	}
}

// tableOf returns the endpoint's table. The registry is asked until it has answered; a table, once it is known, is kept up to
// date by the registry.
func (c *clientSide) tableOf(ctx context.Context) (*graylib.Table, error) {
	if t := c.table.Load(); t != nil {
		return t, nil
	}
	t, err := c.rt.Table(ctx, c.endpoint)
	if err == nil {
		c.table.Store(t)
	} else if len(t.Load().Instances()) > 0 {
		err = nil
	}
	return t, err
}

// addressed tells whether the call's own options name the instance.
func addressed(ri rpcinfo.RPCInfo) bool {
	r := remoteinfo.AsRemoteInfo(ri.To())
	return r != nil && r.GetInstance() != nil
}

// metaHandler writes what a call carries, and takes what a callee sends back with a unary answer. Kitex's own place for it, the context's backward
// values, is shared by all calls of one context.
type metaHandler struct{}

var _ remote.MetaHandler = (*metaHandler)(nil)

// WriteMeta implements [remote.MetaHandler].
func (*metaHandler) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if msg.TransInfo() == nil {
		return ctx, nil
	}
	switch t := ctx.Value(tryKey{}).(type) {
	case *firstTry:
		t.Call().InjectFor(t.reason, &wireKeys, carrierOf(msg))
	case *anyTry:
		t.call.InjectFor(t.reason, &wireKeys, carrierOf(msg))
	}
	return ctx, nil
}

// ReadMeta implements [remote.MetaHandler].
func (*metaHandler) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if msg.TransInfo() == nil {
		return ctx, nil
	}
	if kvs := msg.TransInfo().TransStrInfo(); len(kvs) > 0 && kvs[graylib.RPCKeys.Hops] != "" {
		if d := departureFrom(ctx); d != nil {
			d.further().back = comingBack{kvs[graylib.RPCKeys.Hops], kvs[graylib.RPCKeys.Messages]}
		}
	}
	return ctx, nil
}

// streamEvents take what a callee sends back with a stream: in the trailer, which is handed over before the last Recv
// returns, so that the hops are known when a caller has seen the end; where there is one answer, in the header. (Asking the
// stream for its trailer would take it from the application: it can be had once.) Over gRPC calls are streams too.
var streamEvents = rpcinfo.ClientStreamEventHandler{
	HandleStreamRecvHeaderEvent: func(ctx context.Context, ri rpcinfo.RPCInfo, evt rpcinfo.StreamRecvHeaderEvent) {
		d := departureFrom(ctx)
		if d == nil {
			return
		}
		d.Call().Answered()
		if oneAnswer(ri) {
			d.comeBack(evt.TTStreamHeader)
			d.comeBack(fromGRPC(evt.GRPCHeader))
		}
	},
	HandleStreamFinishEvent: func(ctx context.Context, ri rpcinfo.RPCInfo, evt rpcinfo.StreamFinishEvent) {
		if d := departureFrom(ctx); d != nil {
			d.comeBack(evt.TTStreamTrailer)
			d.comeBack(fromGRPC(evt.GRPCTrailer))
			d.streamEnded(ctx, streamError(ri), evt.TTStreamTrailer != nil || evt.GRPCTrailer != nil)
		}
	},
}

// fromGRPC reads what a callee sent back from gRPC's header or trailer, where names are in lower case.
func fromGRPC(md metadata.MD) map[string]string {
	hops := md.Get(graylib.RPCKeys.Hops)
	if len(hops) == 0 {
		return nil
	}
	back := map[string]string{graylib.RPCKeys.Hops: hops[0]}
	if messages := md.Get(graylib.RPCKeys.Messages); len(messages) > 0 {
		back[graylib.RPCKeys.Messages] = messages[0]
	}
	return back
}

// requestView is what rules see of a call that departs.
type requestView departure

// Value implements [graylib.Request].
func (v *requestView) Value(from graylib.From, key string, i int) (string, bool) {
	if i > 0 {
		return "", false
	}
	switch from {
	case graylib.FromMetainfo:
		if value, ok := metainfo.GetPersistentValue(v.Context, key); ok {
			return value, true
		}
		return metainfo.GetValue(v.Context, key)
	case graylib.FromMethod:
		return v.ri.Invocation().MethodName(), true
	case graylib.FromPath:
		return "/" + v.ri.Invocation().ServiceName() + "/" + v.ri.Invocation().MethodName(), true
	case graylib.FromIP:
		ip := graylib.ClientIPFrom(v.Context)
		return ip, ip != ""
	}
	return "", false
}

// Body implements [graylib.Request]: an RPC shows none.
func (*requestView) Body() []byte { return nil }
