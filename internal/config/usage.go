package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Usage lists the settings with their defaults, for --help. Those that the role requires come first.
func Usage(role Role) string {
	var required, optional []string
	for field := range fields(&Config{}) {
		text := fmt.Sprintf("  %s\n      %s Accepts %s.", names(field, ""), field.Tag.Get("doc"), field.Tag.Get("accepts"))
		switch {
		case requiredBy(field, role):
			required = append(required, text+" Required.")
		case field.Tag.Get("envDefault") != "":
			optional = append(optional, text+" Default: "+field.Tag.Get("envDefault")+".")
		default:
			optional = append(optional, text)
		}
	}
	return strings.Join(append(required, optional...), "\n")
}

// Markdown returns the text of docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Settings\n\nMade from `internal/config` by `make docs`; a test compares. Every process reads them once, at its start. " +
		"Secrets can be in files, one in each: `NAME_FILE` is then set to the path, in place of `NAME`. The end of the line is not part of the secret. " +
		"Files are read again when they change and on SIGHUP (docs/rotation.md). " +
		"A value is taken as it is: one that begins or ends with a quotation mark or white space, or holds an invisible character, is refused. " +
		"Temporal's own settings are the SDK's `TEMPORAL_*` variables and TOML profiles, those of traces OpenTelemetry's `OTEL_*` variables [below](#traces).\n\n" +
		"| variable | default | accepts | required by | what it does |\n|---|---|---|---|---|\n")
	for field := range fields(&Config{}) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", names(field, "`"), field.Tag.Get("envDefault"),
			field.Tag.Get("accepts"), strings.ReplaceAll(field.Tag.Get("roles"), ",", ", "), field.Tag.Get("doc"))
	}
	b.WriteString(traces)
	return b.String()
}

// names are those of a setting's variables, each between quotes.
func names(field reflect.StructField, quote string) string {
	name := field.Tag.Get("env")
	if !isSecret(field.Type) {
		return quote + name + quote
	}
	return quote + name + quote + " or " + quote + name + fileSuffix + quote
}

// traces is what docs/settings.md says of the variables that OpenTelemetry reads.
const traces = `
## Traces

Every process, ` + "`" + `starter` + "`" + ` too, sends its spans by OTLP if one of OpenTelemetry's own variables says where to. Otherwise none are sent, and log lines have the
ids of traces and requests all the same. A collector that is away costs spans and nothing else. What is left at the end of a process has two seconds.

| variable | accepts | what it does |
|---|---|---|
| ` + "`" + `OTEL_EXPORTER_OTLP_ENDPOINT` + "`" + ` | an http or https URL | Where the collector is: ` + "`" + `/v1/traces` + "`" + ` is added. ` + "`" + `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` + "`" + ` is the whole URL. Both empty: nothing is sent. |
| ` + "`" + `OTEL_TRACES_EXPORTER` + "`" + ` | otlp or none | none sends nothing; otlp without an endpoint sends to a collector on this machine. |
| ` + "`" + `OTEL_SDK_DISABLED` + "`" + ` | true or false | true sends nothing, whatever else is set. |
| ` + "`" + `OTEL_EXPORTER_OTLP_PROTOCOL` + "`" + ` | http/protobuf or grpc | How it is sent: http/protobuf if it is empty. ` + "`" + `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` + "`" + ` comes first. |
| ` + "`" + `OTEL_EXPORTER_OTLP_HEADERS` + "`" + ` | name=value, separated by commas | What the collector knows us by. The values are secrets. |
| ` + "`" + `OTEL_SERVICE_NAME` + "`" + ` | a name | Empty: ` + "`" + `storekeeper-` + "`" + ` and the role (webhook, worker, storemanager, standalone, starter). |
| ` + "`" + `OTEL_TRACES_SAMPLER` + "`" + ` | always_on, always_off, traceidratio or one of them after parentbased_ | Which traces are sent: parentbased_always_on if it is empty. ` + "`" + `OTEL_TRACES_SAMPLER_ARG` + "`" + ` is the part of a ratio, 0 to 1. |

OpenTelemetry's libraries read its other variables too (` + "`" + `OTEL_RESOURCE_ATTRIBUTES` + "`" + `, ` + "`" + `OTEL_EXPORTER_OTLP_CERTIFICATE` + "`" + `, ` + "`" + `OTEL_BSP_*` + "`" + ` and so on).
`

func requiredBy(field reflect.StructField, role Role) bool {
	return slices.Contains(strings.Split(field.Tag.Get("roles"), ","), string(role))
}
