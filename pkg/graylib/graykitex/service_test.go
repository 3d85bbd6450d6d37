package graykitex_test

import (
	"context"
	"errors"
	"io"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/streaming"

	"github.com/graychain/graychain/kitex_gen/chain"
)

// A service with a call and every kind of stream, written by hand: the chain's IDL has no client streaming.

type (
	bidiServer = streaming.BidiStreamingServer[chain.Request, chain.Response]
	bidiClient = streaming.BidiStreamingClient[chain.Request, chain.Response]
)

// serviceHandler does what a method does in all of its forms: payload in, payload out.
type serviceHandler struct {
	do func(ctx context.Context, payload string) (string, error)
}

func (h *serviceHandler) answer(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	out, err := h.do(ctx, r.GetPayload())
	return &chain.Response{Payload: &out}, err
}

// bidi answers each request with one response, client with the last one, server with three.
func (h *serviceHandler) bidi(ctx context.Context, st bidiServer) error {
	for {
		req, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := h.answer(ctx, req)
		if err != nil {
			return err
		}
		if err := st.Send(ctx, resp); err != nil {
			return err
		}
	}
}

func (h *serviceHandler) client(ctx context.Context, st streaming.ClientStreamingServer[chain.Request, chain.Response]) error {
	var last *chain.Request
	for {
		req, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		last = req
	}
	resp, err := h.answer(ctx, last)
	if err != nil {
		return err
	}
	return st.SendAndClose(ctx, resp)
}

func (h *serviceHandler) server(ctx context.Context, req *chain.Request, st streaming.ServerStreamingServer[chain.Response]) error {
	for range 3 {
		resp, err := h.answer(ctx, req)
		if err != nil {
			return err
		}
		if err := st.Send(ctx, resp); err != nil {
			return err
		}
	}
	return nil
}

var serviceInfo = &serviceinfo.ServiceInfo{
	ServiceName: "T", HandlerType: (*any)(nil), PayloadCodec: serviceinfo.Thrift, KiteXGenVersion: "v0.16.3",
	Extra: map[string]any{"PackageName": "t"},
	Methods: map[string]serviceinfo.MethodInfo{
		"invoke": serviceinfo.NewMethodInfo(func(ctx context.Context, h, args, result any) error {
			resp, err := h.(*serviceHandler).answer(ctx, args.(*chain.BInvokeArgs).Request)
			if err == nil {
				result.(*chain.BInvokeResult).Success = resp
			}
			return err
		}, func() any { return chain.NewBInvokeArgs() }, func() any { return chain.NewBInvokeResult() }, false,
			serviceinfo.WithStreamingMode(serviceinfo.StreamingNone)),
		"bidi": serviceinfo.NewMethodInfo(func(ctx context.Context, h, args, _ any) error {
			st, err := streaming.GetServerStreamFromArg(args)
			if err != nil {
				return err
			}
			return h.(*serviceHandler).bidi(ctx, streaming.NewBidiStreamingServer[chain.Request, chain.Response](st))
		}, func() any { return chain.NewBRelayArgs() }, func() any { return chain.NewBRelayResult() }, false,
			serviceinfo.WithStreamingMode(serviceinfo.StreamingBidirectional)),
		"client": serviceinfo.NewMethodInfo(func(ctx context.Context, h, args, _ any) error {
			st, err := streaming.GetServerStreamFromArg(args)
			if err != nil {
				return err
			}
			return h.(*serviceHandler).client(ctx, streaming.NewClientStreamingServer[chain.Request, chain.Response](st))
		}, func() any { return chain.NewBRelayArgs() }, func() any { return chain.NewBRelayResult() }, false,
			serviceinfo.WithStreamingMode(serviceinfo.StreamingClient)),
		"server": serviceinfo.NewMethodInfo(func(ctx context.Context, h, args, _ any) error {
			st, err := streaming.GetServerStreamFromArg(args)
			if err != nil {
				return err
			}
			req := new(chain.Request)
			if err := st.RecvMsg(ctx, req); err != nil {
				return err
			}
			return h.(*serviceHandler).server(ctx, req, streaming.NewServerStreamingServer[chain.Response](st))
		}, func() any { return chain.NewBRelayArgs() }, func() any { return chain.NewBRelayResult() }, false,
			serviceinfo.WithStreamingMode(serviceinfo.StreamingServer)),
	},
}

// serviceClient calls it: kind is a method's name.
type serviceClient struct{ c client.Client }

func newServiceClient(name string, opts ...client.Option) (*serviceClient, error) {
	c, err := client.NewClient(serviceInfo, append([]client.Option{client.WithDestService(name)}, opts...)...)
	return &serviceClient{c}, err
}

func (c *serviceClient) call(ctx context.Context, kind, payload string) (string, error) {
	req := &chain.Request{Payload: &payload}
	switch kind {
	case "invoke":
		args, result := chain.NewBInvokeArgs(), chain.NewBInvokeResult()
		args.Request = req
		if err := c.c.Call(ctx, "invoke", args, result); err != nil {
			return "", err
		}
		return result.GetSuccess().GetPayload(), nil
	case "bidi":
		st, err := c.bidi(ctx)
		if err != nil {
			return "", err
		}
		if err := st.Send(ctx, req); err != nil {
			return "", err
		}
		resp, err := st.Recv(ctx)
		if err != nil {
			return "", err
		}
		if err := st.CloseSend(ctx); err != nil {
			return "", err
		}
		if _, err := st.Recv(ctx); !errors.Is(err, io.EOF) {
			return "", errors.Join(errors.New("no end of stream"), err)
		}
		return resp.GetPayload(), nil
	case "client":
		raw, err := c.c.(client.Streaming).StreamX(ctx, "client")
		if err != nil {
			return "", err
		}
		st := streaming.NewClientStreamingClient[chain.Request, chain.Response](raw)
		if err := st.Send(ctx, req); err != nil {
			return "", err
		}
		resp, err := st.CloseAndRecv(ctx)
		if err != nil {
			return "", err
		}
		return resp.GetPayload(), nil
	case "server":
		raw, err := c.c.(client.Streaming).StreamX(ctx, "server")
		if err != nil {
			return "", err
		}
		st := streaming.NewServerStreamingClient[chain.Response](raw)
		if err := st.SendMsg(ctx, req); err != nil {
			return "", err
		}
		if err := st.CloseSend(ctx); err != nil {
			return "", err
		}
		last := ""
		for {
			resp, err := st.Recv(ctx)
			if errors.Is(err, io.EOF) {
				return last, nil
			}
			if err != nil {
				return "", err
			}
			last = resp.GetPayload()
		}
	}
	return "", errors.New("no kind " + kind)
}

func (c *serviceClient) bidi(ctx context.Context) (bidiClient, error) {
	raw, err := c.c.(client.Streaming).StreamX(ctx, "bidi")
	if err != nil {
		return nil, err
	}
	return streaming.NewBidiStreamingClient[chain.Request, chain.Response](raw), nil
}
