package grayotel_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/cloudwego/hertz/pkg/app"
	hclient "github.com/cloudwego/hertz/pkg/app/client"
	hserver "github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/protocol"
	kclient "github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	kserver "github.com/cloudwego/kitex/server"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayotel"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
)

func init() {
	klog.SetOutput(io.Discard)
	hlog.SetOutput(io.Discard)
	hlog.SetSystemLogger(hlog.DefaultLogger())
}

// loop is the whole chain in one process: a gateway on Hertz, a on net/http, b and c on Kitex and net/http, and a broker that
// hands a message on with nothing but its properties. b is baseline; a and c are gray.
type loop struct {
	t        *testing.T
	registry *graylibtest.Registry
	spans    *tracetest.InMemoryExporter
	broker   *broker
	gateway  string
}

func (l *loop) runtime(service string, tag graylib.Tag) *graylib.Runtime {
	l.t.Helper()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(l.spans), sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName(service))))
	id := graylib.Identity{Service: service, Tag: tag, Instance: service + "-1"}
	rt, err := graylib.New(id, graylib.WithRegistry(l.registry.As(id)), graylib.WithLogger(slog.New(slog.DiscardHandler)),
		graylib.WithRules(&graylibtest.Rules{
			List: []graylib.Lane{{Tag: "gray"}},
			ColourFunc: func(callee string, req graylib.Request) (graylib.Decision, bool) {
				name, _ := req.Value(graylib.FromQuery, "name", 0)
				return graylib.Decision{Tag: "gray", Propagate: true}, callee == "a" && name == "xiaoming"
			},
		}),
		graylib.WithTelemetry(grayotel.New(grayotel.WithTracerProvider(provider))))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = rt.Close() })
	return rt
}

// web serves a mux as the service's HTTP port.
func (l *loop) web(rt *graylib.Runtime, mux *http.ServeMux) {
	s := httptest.NewServer(grayhttp.Handler(mux, grayhttp.WithRuntime(rt)))
	l.t.Cleanup(s.Close)
	l.register(rt, rt.Identity().Service, s.Listener.Addr())
}

func (l *loop) register(rt *graylib.Runtime, endpoint string, addr net.Addr) {
	l.t.Helper()
	if err := rt.Registry().Register(l.t.Context(), graylib.Registration{Service: endpoint, Addr: addr.String(), Weight: 1}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *loop) listen() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	return ln
}

func (l *loop) rpc(rt *graylib.Runtime, build func(...kserver.Option) kserver.Server) {
	ln := l.listen()
	s := build(kserver.WithListener(ln), kserver.WithExitSignal(func() <-chan error { return nil }),
		kserver.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(rt), graykitex.WithSettle(0))))
	go func() { _ = s.Run() }()
	l.t.Cleanup(func() { _ = s.Stop() })
	l.eventually("the registration of "+ln.Addr().String(), func() bool {
		for _, in := range l.registry.Instances(rt.Identity().Service + graylib.RPCServiceSuffix) {
			if in.Addr == ln.Addr().String() {
				return true
			}
		}
		return false
	})
}

func (l *loop) eventually(what string, ok func() bool) {
	l.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			l.t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// get calls the next service over HTTP.
func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

// broker hands messages to a's consumer with their topic and properties alone.
type broker struct {
	rocketmq.Producer
	queue chan map[string]string
}

func (q *broker) SendSync(_ context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error) {
	for _, m := range msgs {
		m.WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, "ID1")
		q.queue <- maps.Clone(m.GetProperties())
	}
	return &primitive.SendResult{Status: primitive.SendOK, MsgID: "ID1"}, nil
}

type serviceC struct{ producer rocketmq.Producer }

func (s *serviceC) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	_, err := s.producer.SendSync(ctx, primitive.NewMessage("TEST_MQ", []byte("C")))
	return &chain.Response{Payload: r.Payload}, err
}

func (s *serviceC) Relay(ctx context.Context, st chain.C_relayServer) error {
	for {
		r, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.Send(ctx, &chain.Response{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

type serviceB struct{ c c.Client }

func (s *serviceB) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return s.c.Invoke(ctx, r)
}

func (s *serviceB) Relay(ctx context.Context, _ chain.B_relayServer) error {
	st, err := s.c.Relay(ctx)
	if err != nil {
		return err
	}
	return throughStream(ctx, st)
}

// stream is a client's side of a bidirectional stream.
type stream interface {
	Send(ctx context.Context, r *chain.Request) error
	Recv(ctx context.Context) (*chain.Response, error)
	CloseSend(ctx context.Context) error
}

// throughStream ends a stream and reads it to its end.
func throughStream(ctx context.Context, st stream) error {
	if err := st.CloseSend(ctx); err != nil {
		return err
	}
	if _, err := st.Recv(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func startLoop(t *testing.T) *loop {
	l := &loop{t: t, registry: graylibtest.NewRegistry(), spans: tracetest.NewInMemoryExporter(), broker: &broker{queue: make(chan map[string]string, 8)}}
	over := func(rt *graylib.Runtime) *http.Client {
		base := http.DefaultTransport.(*http.Transport).Clone()
		t.Cleanup(base.CloseIdleConnections)
		return &http.Client{Transport: grayhttp.Transport(base, grayhttp.WithRuntime(rt))}
	}
	suite := func(rt *graylib.Runtime) kclient.Option {
		return kclient.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt)))
	}

	ofC := l.runtime("c", "gray")
	producer, err := grayrocketmq.WrapProducer(l.broker, nil, grayrocketmq.WithProducerRuntime(ofC))
	if err != nil {
		t.Fatal(err)
	}
	l.rpc(ofC, func(o ...kserver.Option) kserver.Server { return c.NewServer(&serviceC{producer}, o...) })
	mux := http.NewServeMux()
	mux.HandleFunc("GET /c", func(http.ResponseWriter, *http.Request) {})
	l.web(ofC, mux)

	ofB := l.runtime("b", "")
	toC, err := c.NewClient("c", suite(ofB))
	if err != nil {
		t.Fatal(err)
	}
	l.rpc(ofB, func(o ...kserver.Option) kserver.Server { return b.NewServer(&serviceB{toC}, o...) })
	mux = http.NewServeMux()
	bOver := over(ofB)
	mux.HandleFunc("GET /b", func(w http.ResponseWriter, r *http.Request) { answer(w, get(r.Context(), bOver, "http://c/c")) })
	l.web(ofB, mux)

	ofA := l.runtime("a", "gray")
	toB, err := b.NewClient("b", suite(ofA))
	if err != nil {
		t.Fatal(err)
	}
	mux = http.NewServeMux()
	mux.HandleFunc("/dubbo", func(w http.ResponseWriter, r *http.Request) {
		_, err := toB.Invoke(r.Context(), &chain.Request{})
		answer(w, err)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		st, err := toB.Relay(r.Context())
		if err == nil {
			err = throughStream(r.Context(), st)
		}
		answer(w, err)
	})
	l.web(ofA, mux)
	l.consume(ofA, over(ofA))
	l.gateway = l.startGateway()
	return l
}

// consume does with each message what grayrocketmq's members do, and calls b over HTTP.
func (l *loop) consume(rt *graylib.Runtime, client *http.Client) {
	ctx, stop := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	l.t.Cleanup(func() { stop(); ended.Wait() })
	ended.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case properties := <-l.broker.queue:
				ctx, arrival := rt.Arrive(ctx, graylib.ProtocolMQ, graylib.MessageKeys, graylib.MapCarrier(properties))
				ctx, done := rt.Telemetry().Consumed(ctx, graylib.Consuming{
					Hop: arrival.Hop(), Group: "test-a_gray", Topic: "TEST_MQ", ID: "ID1", Queue: "broker-a/0", Tag: graylib.TagFrom(ctx),
					Reason: "lane", Deliveries: 1,
				})
				err := get(ctx, client, "http://b/b")
				o := graylib.Outcome{Result: graylib.ResultSuccess}
				if err != nil {
					o = graylib.Outcome{Result: graylib.ResultRetry, Err: err}
				}
				done(o)
			}
		}
	})
}

// startGateway hands every request on to a with the headers that it came with, the trace's included, as proxies do.
func (l *loop) startGateway() string {
	rt, ln := l.runtime("gateway", ""), l.listen()
	out, err := hclient.NewClient()
	if out, err = grayhertz.WrapClient(out, err, grayhertz.WithRuntime(rt)); err != nil {
		l.t.Fatal(err)
	}
	h := grayhertz.WrapServer(hserver.New(hserver.WithListener(ln), hserver.WithDisablePrintRoute(true)),
		grayhertz.WithRuntime(rt), grayhertz.WithEdge(), grayhertz.WithSettle(0))
	h.GET("/*path", func(ctx context.Context, rc *app.RequestContext) {
		req := &protocol.Request{}
		rc.Request.CopyTo(req)
		req.SetRequestURI("http://a" + string(rc.Request.RequestURI()))
		req.SetHost("a")
		req.SetOptions(config.WithSD(true))
		if err := out.Do(ctx, req, &rc.Response); err != nil {
			rc.String(http.StatusBadGateway, "%s", err.Error())
		}
	})
	go func() { _ = h.Run() }()
	l.t.Cleanup(func() {
		out.CloseIdleConnections()
		_ = h.Shutdown(context.Background())
	})
	l.eventually("the gateway's registration", func() bool { return len(l.registry.Instances("gateway")) == 1 })
	return "http://" + ln.Addr().String()
}

// TestLoopIsOneTrace: gateway, A, B, C, the message, A, B, C. The trace that the client claims is not taken over.
func TestLoopIsOneTrace(t *testing.T) {
	l := startLoop(t)
	for _, tt := range []struct {
		name, target, want string
		spans              int
	}{
		{"tagged", "/dubbo?name=xiaoming", `
server gateway GET /*path
  client gateway GET a tag=gray reason=lane
    server a GET /dubbo own=gray tag=gray reason=lane
      client a B/invoke tag=gray reason=fallback: no instance
        server b B/invoke tag=gray reason=fallback: no instance
          client b C/invoke tag=gray reason=lane
            server c C/invoke own=gray tag=gray reason=lane
              producer c send TEST_MQ tag=gray
                consumer a process TEST_MQ own=gray tag=gray linked to its producer
                  client a GET b tag=gray reason=fallback: no instance
                    server b GET /b tag=gray reason=fallback: no instance
                      client b GET c tag=gray reason=lane
                        server c GET /c own=gray tag=gray reason=lane
`, 13},
		{"stream", "/stream?name=xiaoming", `
server gateway GET /*path
  client gateway GET a tag=gray reason=lane
    server a GET /stream own=gray tag=gray reason=lane
      client a B/relay tag=gray reason=fallback: no instance
        server b B/relay tag=gray reason=fallback: no instance
          client b C/relay tag=gray reason=lane
            server c C/relay own=gray tag=gray reason=lane
`, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.spans.Reset()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.gateway+tt.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			const claimed = "0af7651916cd43dd8448eb211c80319c"
			req.Header.Set("traceparent", "00-"+claimed+"-b7ad6b7169203331-01")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", resp.StatusCode, body)
			}
			l.eventually("all spans ended", func() bool { return len(l.spans.GetSpans()) >= tt.spans })
			spans := l.spans.GetSpans()
			if diff := cmp.Diff(tt.want, "\n"+drawn(t, spans)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := spans[0].SpanContext.TraceID().String(); got == claimed {
				t.Errorf("broke G9 trust: the client's trace %s was taken over", got)
			}
		})
	}
}
