package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quotes are the characters that people and their editors put around values. Env files that no shell reads (docker --env-file, systemd in
// part) keep them, and a secret in quotes is a different secret.
const quotes = "\"'`´" + "“”„‟‘’‚‛«»‹›＂＇"

// CheckSpelling checks that our variables, Temporal's and OpenTelemetry's are spelt as they were meant. wanted selects the variables to check; nil selects
// all. Values are taken as they are, so CheckSpelling refuses what a value can only contain by mistake, whatever the value means. The error
// has one line for each bad variable.
func CheckSpelling(environ []string, wanted func(name string) bool) error {
	var problems []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		meant := strings.TrimFunc(name, invisible)
		meant = strings.TrimLeftFunc(strings.TrimPrefix(meant, "export "), invisible)
		kind, ours := settingType(meant)
		if !ours || value == "" || wanted != nil && !wanted(meant) {
			continue
		}
		if meant != name {
			problems = append(problems, fmt.Sprintf("%s is not accepted: the variable is to be named %s", strconv.Quote(name), meant))
			continue
		}
		why := Misspelt(value)
		if why == "" && list(kind) && slices.ContainsFunc(strings.Split(value, ","), quoted) {
			why = "an entry begins or ends with a quotation mark, take the quotes off"
		}
		if why != "" {
			problems = append(problems, fmt.Sprintf("%s=%s is not accepted: %s", name, shown(kind, value), why))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return errors.New(strings.Join(slices.Compact(problems), "\n"))
}

// list says whether values of this type are lists, whose entries may each be in quotes.
func list(kind reflect.Type) bool { return kind != nil && kind.Kind() == reflect.Slice }

// settingType says whether a process reads the variable, and which type its values have. The type is nil for a variable of Temporal's or
// OpenTelemetry's.
func settingType(name string) (kind reflect.Type, ours bool) {
	for field := range fields(&Config{}) {
		before, after, several := strings.Cut(field.Tag.Get("env"), "<ID>")
		if isSecret(field.Type) && name == before+fileSuffix {
			return reflect.TypeFor[string](), true
		}
		if name == before && !several || several && strings.HasPrefix(name, before) && strings.HasSuffix(name, after) {
			return field.Type, true
		}
	}
	// Header values belong to others, and may be in quotes.
	return nil, strings.HasPrefix(name, "TEMPORAL_") && !strings.HasPrefix(name, "TEMPORAL_GRPC_META_") ||
		strings.HasPrefix(name, "OTEL_") && !strings.HasSuffix(name, "_HEADERS")
}

// Misspelt says what is wrong with the spelling of a value; "" means nothing.
func Misspelt(value string) string {
	if quoted(value) {
		return "it begins or ends with a quotation mark, take the quotes off"
	}
	if strings.Contains(value, "-----BEGIN ") { // a certificate or key has several lines, and perhaps some before it
		return ""
	}
	for _, r := range value {
		if r != ' ' && invisible(r) {
			return fmt.Sprintf("it holds the invisible character %U, take it out", r)
		}
	}
	if strings.TrimSpace(value) != value {
		return "it begins or ends with white space, take it off"
	}
	return ""
}

// quoted says whether a value begins or ends with a quotation mark.
func quoted(value string) bool {
	value = strings.TrimFunc(value, invisible)
	first, _ := utf8.DecodeRuneInString(value)
	last, _ := utf8.DecodeLastRuneInString(value)
	return value != "" && (strings.ContainsRune(quotes, first) || strings.ContainsRune(quotes, last))
}

// invisible says whether the character is white space of any kind, a control character, or one that only steers how text is shown, such as
// a byte order mark.
func invisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

// shown is the value as a line about it may show it: redacted if it may hold a secret, and shortened if it is long.
func shown(kind reflect.Type, value string) string {
	switch kind {
	case nil, reflect.TypeFor[Secret](), reflect.TypeFor[Secrets](), reflect.TypeFor[Operators](), reflect.TypeFor[PostgresURL](),
		reflect.TypeFor[URL](), reflect.TypeFor[SyncURL](), reflect.TypeFor[SyncURLs](): // nil: Temporal's value may be a key; a URL may hold a password
		return redacted
	}
	quoted := strconv.Quote(value)
	if len(quoted) > 80 {
		quoted = quoted[:80] + "…"
	}
	return quoted
}
