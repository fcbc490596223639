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
		"Temporal's own settings are the SDK's `TEMPORAL_*` variables and TOML profiles.\n\n" +
		"| variable | default | accepts | required by | what it does |\n|---|---|---|---|---|\n")
	for field := range fields(&Config{}) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", names(field, "`"), field.Tag.Get("envDefault"),
			field.Tag.Get("accepts"), strings.ReplaceAll(field.Tag.Get("roles"), ",", ", "), field.Tag.Get("doc"))
	}
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

func requiredBy(field reflect.StructField, role Role) bool {
	return slices.Contains(strings.Split(field.Tag.Get("roles"), ","), string(role))
}
