package graykitex_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/server"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// A protobuf service as Kitex generates it, over gRPC, which is such a client's only choice: its calls are served as streams.

type (
	protoArgs   struct{ Req *wrapperspb.StringValue }
	protoResult struct{ Success *wrapperspb.StringValue }
)

var protoInfo = &serviceinfo.ServiceInfo{
	ServiceName: "P", HandlerType: (*any)(nil), PayloadCodec: serviceinfo.Protobuf, KiteXGenVersion: "v0.16.3",
	Extra: map[string]any{"PackageName": "p"},
	Methods: map[string]serviceinfo.MethodInfo{
		"say": serviceinfo.NewMethodInfo(func(ctx context.Context, h, args, result any) error {
			do := h.(*serviceHandler).do
			switch a := args.(type) {
			case *streaming.Args:
				req := new(wrapperspb.StringValue)
				if err := a.Stream.RecvMsg(req); err != nil {
					return err
				}
				out, err := do(ctx, req.GetValue())
				if err != nil {
					return err
				}
				return a.Stream.SendMsg(wrapperspb.String(out))
			case *protoArgs:
				out, err := do(ctx, a.Req.GetValue())
				result.(*protoResult).Success = wrapperspb.String(out)
				return err
			}
			return errors.New("neither a stream nor a call")
		}, func() any { return &protoArgs{} }, func() any { return &protoResult{} }, false, serviceinfo.WithStreamingMode(serviceinfo.StreamingUnary)),
	},
}

// GetFirstArgument and the like are what Kitex's generated code offers.
func (a *protoArgs) GetFirstArgument() any { return a.Req }

func (a *protoArgs) Marshal(b []byte) ([]byte, error) { return marshalString(b, a.Req) }
func (a *protoArgs) Unmarshal(b []byte) error         { return unmarshalString(b, &a.Req) }

func (r *protoResult) GetResult() any                   { return r.Success }
func (r *protoResult) Marshal(b []byte) ([]byte, error) { return marshalString(b, r.Success) }
func (r *protoResult) Unmarshal(b []byte) error         { return unmarshalString(b, &r.Success) }

func TestProtobufOverGRPC(t *testing.T) {
	for name, opts := range map[string][]server.Option{"served as streams": nil, "served as calls": {server.WithCompatibleMiddlewareForUnary()}} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			for _, tag := range []graylib.Tag{"", "gray"} {
				rt := m.runtime("b", tag)
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				svr := server.NewServer(append([]server.Option{
					server.WithListener(ln), server.WithExitWaitTime(time.Second), server.WithExitSignal(func() <-chan error { return nil }),
					server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(rt), graykitex.WithSettle(0))),
				}, opts...)...)
				if err := svr.RegisterService(protoInfo, &serviceHandler{func(ctx context.Context, in string) (string, error) {
					if in == "fail" {
						return "", errors.New("on purpose")
					}
					return saw(ctx, rt, in), nil
				}}); err != nil {
					t.Fatal(err)
				}
				go func() { _ = svr.Run() }()
				t.Cleanup(func() { _ = svr.Stop() })
			}
			eventually(t, "both are registered", func() bool { return len(m.registry.Instances("b.rpc")) == 2 })
			a := m.runtime("a", "")
			c, err := client.NewClient(protoInfo, client.WithDestService("b"), graykitex.ClientOption(graykitex.WithRuntime(a)))
			if err != nil {
				t.Fatal(err)
			}
			for _, payload := range []string{"x", "fail"} {
				ctx, arrival := a.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
				args, result := &protoArgs{Req: wrapperspb.String(payload)}, &protoResult{}
				err := c.Call(ctx, "say", args, result)
				if (err != nil) != (payload == "fail") {
					t.Fatal(err)
				}
				hops, _ := arrival.Chain()
				if len(hops) != 2 || hops[1].Service != "b" || hops[1].Tag != "gray" || hops[1].RequestTag != "gray" || hops[1].Reason != graylib.ReasonLane {
					t.Errorf("%s: hops %+v", payload, hops)
				}
			}
		})
	}
}

func marshalString(b []byte, v *wrapperspb.StringValue) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(b, v)
}

func unmarshalString(b []byte, v **wrapperspb.StringValue) error {
	*v = new(wrapperspb.StringValue)
	return proto.Unmarshal(b, *v)
}
