package grayprom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/graychain/graychain/pkg/graylib"
)

// ErrAttached is wrapped where one Metrics is given to a second runtime: their series would be the same.
var ErrAttached = errors.New("metrics belong to another runtime")

// DefaultBuckets are the histograms' upper bounds in seconds: from half a millisecond, about what a hop costs at least, to
// ten seconds, the services' call timeout.
var DefaultBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Option sets one thing of a [Metrics].
type Option func(*Metrics)

// WithRegistry sets where the series are registered and what [Metrics.Handler] shows. The default is a registry of its own.
func WithRegistry(r *prometheus.Registry) Option { return func(m *Metrics) { m.registry = r } }

// WithBuckets sets the histograms' upper bounds in seconds, rising. The default is [DefaultBuckets].
func WithBuckets(seconds ...float64) Option { return func(m *Metrics) { m.buckets = seconds } }

// Metrics is the telemetry of one runtime. Its methods are safe for concurrent use.
type Metrics struct {
	graylib.NoTelemetry

	registry *prometheus.Registry
	buckets  []float64
	rt       atomic.Pointer[graylib.Runtime]
	names    names

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	calls           *prometheus.CounterVec
	callDuration    *prometheus.HistogramVec
	sent            *prometheus.CounterVec
	messages        *prometheus.CounterVec
	messageDuration *prometheus.HistogramVec
}

var (
	_ graylib.Telemetry = (*Metrics)(nil)
	_ graylib.Attacher  = (*Metrics)(nil)
)

// New makes metrics for one runtime, see [graylib.WithTelemetry]. Nothing is registered before a runtime has them.
func New(opts ...Option) *Metrics {
	m := &Metrics{buckets: DefaultBuckets}
	for _, o := range opts {
		o(m)
	}
	if m.registry == nil {
		m.registry = prometheus.NewRegistry()
	}
	m.requests = counter("requests_total", "Requests and calls that this instance served.",
		"protocol", "tag", "reason", "result")
	m.requestDuration = m.histogram("request_duration_seconds", "How long serving took, until the handler returned.",
		"protocol", "tag")
	m.calls = counter("calls_total", "Calls that this instance made, tries within one counted once.",
		"endpoint", "protocol", "tag", "reason", "result")
	m.callDuration = m.histogram("call_duration_seconds", "How long calls took, all tries together, until the answer began; streams until they ended.",
		"endpoint", "protocol", "tag")
	m.sent = counter("messages_sent_total", "Messages that this instance sent, by the tag that they were marked with.",
		"topic", "tag", "result")
	m.messages = counter("messages_total", "Messages that came to this instance, by what became of them (success, retry, panic, skipped) and why.",
		"group", "topic", "tag", "verdict", "reason")
	m.messageDuration = m.histogram("message_duration_seconds", "How long the handlers of messages took.",
		"group", "tag")
	return m
}

const namespace = "graychain"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: m.buckets}, labels)
}

// Attach implements [graylib.Attacher]: it registers the series. The error wraps [ErrAttached] for a second runtime, or is
// the registry's.
func (m *Metrics) Attach(rt *graylib.Runtime) error {
	if !m.rt.CompareAndSwap(nil, rt) {
		return fmt.Errorf("grayprom: %w: %q", ErrAttached, m.rt.Load().Identity().Service)
	}
	id := rt.Identity()
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"service": id.Service, "own_tag": string(id.Tag)}, m.registry)
	for _, c := range []prometheus.Collector{
		m.requests, m.requestDuration, m.calls, m.callDuration, m.sent, m.messages, m.messageDuration, state{rt: rt, m: m},
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("grayprom: %w", err)
		}
	}
	return nil
}

// Handler answers a scrape with everything in the registry.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// tag is the label of a request's or message's tag.
func (m *Metrics) tag(t graylib.Tag) string {
	if t == graylib.Untagged {
		return ""
	}
	if rt := m.rt.Load(); rt != nil {
		if _, listed := rt.Rules().Lane(t); listed {
			return string(t)
		}
	}
	return other
}

// result is the label of how something ended.
func result(o graylib.Outcome) string {
	if o.Failed() {
		return "error"
	}
	return "ok"
}

// Arrived implements [graylib.Telemetry].
func (m *Metrics) Arrived(ctx context.Context, a graylib.Arriving) (context.Context, func(graylib.Outcome)) {
	begun := time.Now()
	return ctx, func(o graylib.Outcome) {
		protocol, tag := string(a.Hop.Protocol), m.tag(a.Hop.RequestTag)
		m.requests.WithLabelValues(protocol, tag, string(a.Hop.Reason), result(o)).Inc()
		m.requestDuration.WithLabelValues(protocol, tag).Observe(time.Since(begun).Seconds())
	}
}

// Departed implements [graylib.Telemetry].
func (m *Metrics) Departed(ctx context.Context, call *graylib.Call, d graylib.Departing) (context.Context, func(graylib.Outcome)) {
	begun := time.Now()
	return ctx, func(o graylib.Outcome) {
		endpoint, tag := m.names.bounded(d.Endpoint), m.tag(call.Tag())
		m.calls.WithLabelValues(endpoint, string(d.Protocol), tag, string(call.Reason()), result(o)).Inc()
		m.callDuration.WithLabelValues(endpoint, string(d.Protocol), tag).Observe(time.Since(begun).Seconds())
	}
}

// Sent implements [graylib.Telemetry].
func (m *Metrics) Sent(ctx context.Context, _ graylib.Sending) (context.Context, func(graylib.Outcome)) {
	return ctx, func(o graylib.Outcome) {
		r := result(o)
		for _, msg := range o.Messages {
			m.sent.WithLabelValues(m.names.bounded(msg.Topic), m.tag(msg.Tag), r).Inc()
		}
	}
}

// Consumed implements [graylib.Telemetry].
func (m *Metrics) Consumed(ctx context.Context, c graylib.Consuming) (context.Context, func(graylib.Outcome)) {
	begun := time.Now()
	return ctx, func(o graylib.Outcome) {
		m.message(c, o.Result)
		m.messageDuration.WithLabelValues(m.names.bounded(c.Group), m.tag(c.Tag)).Observe(time.Since(begun).Seconds())
	}
}

// Skipped implements [graylib.Telemetry].
func (m *Metrics) Skipped(c graylib.Consuming) { m.message(c, graylib.ResultSkipped) }

func (m *Metrics) message(c graylib.Consuming, verdict string) {
	m.messages.WithLabelValues(m.names.bounded(c.Group), m.names.bounded(c.Topic), m.tag(c.Tag), verdict, c.Reason).Inc()
}
