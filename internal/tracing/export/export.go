// Package export sends the spans of a process away by OTLP, as OpenTelemetry's own variables (OTEL_*) say. OpenTelemetry's libraries read most of
// them; this package reads those that say whether, to where and how.
package export

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"storekeeper/internal/tracing"
)

// The variables that are read here.
const (
	disabled      = "OTEL_SDK_DISABLED"
	exporterKind  = "OTEL_TRACES_EXPORTER"
	endpoint      = "OTEL_EXPORTER_OTLP_ENDPOINT"
	traceEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	protocol      = "OTEL_EXPORTER_OTLP_PROTOCOL"
	traceProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	headers       = "OTEL_EXPORTER_OTLP_HEADERS"
	traceHeaders  = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
	sampler       = "OTEL_TRACES_SAMPLER"
	samplerArg    = "OTEL_TRACES_SAMPLER_ARG"
)

// flushTimeout bounds how long the end of a process waits for its last spans to be taken.
const flushTimeout = 2 * time.Second

// Options of Start. All are required but Failed.
type Options struct {
	// Environ are the variables as "NAME=value". The libraries beneath read those of the process.
	Environ []string
	// Service is the service.name of the spans unless OTEL_SERVICE_NAME says another one, Version their service.version.
	Service, Version string
	// Failed hears what goes wrong with the export, any number of times. Nil: nobody does.
	Failed func(error)
}

// Start makes all spans of the process from now on have ids, and sends them away if the settings say where to. It asks nobody anything: a collector
// that is away makes spans get lost, and nothing slower. stop sends what is left, for 2 s at the most, and returns then. The error names the variable
// whose value is not accepted.
func Start(ctx context.Context, o Options) (stop func(), err error) {
	env := environ(o.Environ)
	if err := env.check(); err != nil {
		return nil, err
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithIDGenerator(tracing.Generator{})}
	if !env.exports() {
		// Nobody gets our spans. What callers have sampled stays so for whoever comes after us; what begins here is not.
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
		otel.SetTracerProvider(sdktrace.NewTracerProvider(options...))
		return func() {}, nil
	}
	if o.Failed != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(o.Failed))
	}
	exporter, err := env.exporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("the exporter of traces (OTEL_EXPORTER_OTLP_*): %w", err)
	}
	from, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if env.get(sampler) == "" { // an empty variable is none, but to the library
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	}
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithBatcher(exporter), sdktrace.WithResource(from))...)
	otel.SetTracerProvider(provider)
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil && o.Failed != nil {
			o.Failed(err)
		}
	}, nil
}

// Secrets are values of the variables that must never be shown: what the collector knows us by.
func Secrets(variables []string) []string {
	env := environ(variables)
	var all []string
	for _, name := range []string{headers, traceHeaders} {
		for pair := range strings.SplitSeq(env.get(name), ",") {
			_, value, _ := strings.Cut(pair, "=")
			value = strings.TrimSpace(value)
			all = append(all, value)
			if plain, err := url.PathUnescape(value); err == nil {
				all = append(all, plain)
			}
		}
	}
	for _, name := range []string{endpoint, traceEndpoint} {
		if u, err := url.Parse(env.get(name)); err == nil {
			if password, ok := u.User.Password(); ok {
				all = append(all, password)
			}
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

type environ []string

// get returns the last value of a variable; "" counts as unset, as OpenTelemetry wants it.
func (e environ) get(names ...string) string {
	for _, name := range names {
		for _, pair := range slices.Backward(e) {
			if value, ok := strings.CutPrefix(pair, name+"="); ok && value != "" {
				return value
			}
		}
	}
	return ""
}

// exports says whether spans go anywhere. OpenTelemetry itself would send them to a collector on this machine if nothing is said.
func (e environ) exports() bool {
	off, _ := strconv.ParseBool(e.get(disabled))
	kind := e.get(exporterKind)
	return !off && kind != "none" && (kind != "" || e.get(traceEndpoint, endpoint) != "")
}

// accepted are the values that a variable may have.
var accepted = map[string][]string{
	disabled:      {"true", "false"},
	exporterKind:  {"otlp", "none"},
	protocol:      {"http/protobuf", "grpc"},
	traceProtocol: {"http/protobuf", "grpc"},
	sampler: {
		"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
	},
}

// check refuses what the libraries would ignore in silence. No value is quoted: a URL may hold a password.
func (e environ) check() error {
	var all []error
	for _, name := range []string{disabled, exporterKind, protocol, traceProtocol, sampler} {
		if value := e.get(name); value != "" && !slices.Contains(accepted[name], value) {
			all = append(all, fmt.Errorf("%s is not accepted: want %s", name, strings.Join(accepted[name], ", ")))
		}
	}
	for _, name := range []string{endpoint, traceEndpoint} {
		u, err := url.Parse(e.get(name))
		if value := e.get(name); value != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			all = append(all, fmt.Errorf("%s is not accepted: want an http or https URL", name))
		}
	}
	if arg := e.get(samplerArg); arg != "" {
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			all = append(all, fmt.Errorf("%s is not accepted: want a number from 0 to 1", samplerArg))
		}
	}
	return errors.Join(all...)
}

func (e environ) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if e.get(traceProtocol, protocol) == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}
