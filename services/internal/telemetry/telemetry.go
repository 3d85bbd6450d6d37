// Package telemetry sets up what a service shows of itself: metrics always, OpenTelemetry traces where the environment asks
// for them.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayotel"
	"github.com/graychain/graychain/pkg/graylib/grayprom"
	"github.com/graychain/graychain/services/internal/config"
)

// Telemetry is one service's.
type Telemetry struct {
	metrics *grayprom.Metrics
	traces  *sdktrace.TracerProvider // nil: none
}

// Open sets up metrics, and traces where OpenTelemetry's variables ask for them (getenv; nil = os.Getenv). Whether they do
// is read here; where to and how the SDK reads itself, from the process's environment. An error names the variable and
// what it may be.
func Open(ctx context.Context, id graylib.Identity, getenv func(string) string) (*Telemetry, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t := &Telemetry{metrics: grayprom.New(grayprom.WithRegistry(registry))}
	wanted, err := traced(getenv)
	switch {
	case err != nil:
		return nil, err
	case !wanted:
		return t, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: OTEL_EXPORTER_OTLP_…: %w", config.ErrInvalid, err)
	}
	attrs := []attribute.KeyValue{semconv.ServiceName(id.Service)}
	if id.Instance != "" { // a generated one is in each span
		attrs = append(attrs, semconv.ServiceInstanceID(id.Instance))
	}
	if id.Tag != graylib.Untagged {
		attrs = append(attrs, grayotel.OwnTagKey.String(string(id.Tag)))
	}
	about, err := resource.New(ctx, resource.WithAttributes(attrs...),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithFromEnv()) // the last wins: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("%w: OTEL_RESOURCE_ATTRIBUTES: %w", config.ErrInvalid, err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { slog.Warn("traces could not be exported", "error", err) }))
	t.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(t.traces)
	return t, nil
}

// OpenTelemetry's variables that are read here (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
const (
	envDisabled       = "OTEL_SDK_DISABLED"
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
)

// traced tells whether traces are asked for. Unlike the specification's default, which is to send to localhost, nothing is
// sent where no variable says so.
func traced(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv(envDisabled), "true") {
		return false, nil
	}
	switch v := getenv(config.EnvTracesExporter); v {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if getenv(envEndpoint) == "" && getenv(envTracesEndpoint) == "" {
			return false, nil
		}
	default:
		return false, invalid(config.EnvTracesExporter, v, "want otlp or none")
	}
	for _, name := range []string{envTracesProtocol, envProtocol} {
		switch v := getenv(name); v {
		case "http/protobuf":
			return true, nil // the first that is set counts
		case "":
		default:
			return false, invalid(name, v, "want http/protobuf, which collectors take at port 4318")
		}
	}
	return true, nil
}

func invalid(name, value, want string) error {
	return fmt.Errorf("%w: %s=%q: %s", config.ErrInvalid, name, value, want)
}

// Telemetry returns what the runtime is to tell.
func (t *Telemetry) Telemetry() []graylib.Telemetry {
	list := []graylib.Telemetry{t.metrics}
	if t.traces != nil {
		list = append(list, grayotel.New(grayotel.WithTracerProvider(t.traces)))
	}
	return list
}

// Metrics answers a scrape.
func (t *Telemetry) Metrics() http.Handler { return t.metrics.Handler() }

// closeTimeout is how long the last spans may take to be exported.
const closeTimeout = 3 * time.Second

// Close exports the last spans.
func (t *Telemetry) Close() error {
	if t.traces == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return t.traces.Shutdown(ctx)
}
