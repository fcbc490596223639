package telemetry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/getsentry/sentry-go"
)

const redacted = "[redacted]"

// newRedactor returns a replacer that replaces each secret, in every form that it may take, by "[redacted]". It ignores empty secrets.
// Without any secret it replaces nothing.
func newRedactor(secrets []string) *strings.Replacer {
	var all []string
	for _, secret := range secrets {
		if secret != "" {
			all = append(all, forms(secret)...)
		}
	}
	// The longest comes first: otherwise a secret that begins with another one would leave its tail behind.
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	pairs := make([]string, 0, 2*len(all))
	for _, form := range slices.Compact(all) {
		pairs = append(pairs, form, redacted)
	}
	return strings.NewReplacer(pairs...)
}

// forms returns a secret as it is and as it looks after one or two escapings. An error of the HTTP client quotes its URL, the sync protocol
// escapes the token in its URL twice, and a log line is JSON.
func forms(secret string) []string {
	all := []string{secret}
	for range 2 {
		for _, s := range slices.Clone(all) {
			all = append(all, url.QueryEscape(s), url.PathEscape(s), jsonEscape(s))
		}
	}
	return all
}

func jsonEscape(s string) string {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)  // as zap does
	if enc.Encode(s) != nil { // a string can always be encoded
		return s
	}
	return strings.Trim(strings.TrimSpace(buf.String()), `"`)
}

// redactingWriter replaces secrets in what is written to w. Each Write gets one whole log line, after encoding, so no kind of field can
// slip through.
type redactingWriter struct {
	w        io.Writer
	redactor *strings.Replacer
}

func (r redactingWriter) Write(p []byte) (int, error) {
	// It is one Write, because w may be shared with others.
	if _, err := io.WriteString(r.w, r.redactor.Replace(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// scrub removes the secrets from everything in an event that can come from us. Of requests and users, which we never tell of, nothing is sent.
func scrub(event *sentry.Event, redactor *strings.Replacer) *sentry.Event {
	redact := redactor.Replace
	event.Message, event.Transaction, event.ServerName = redact(event.Message), redact(event.Transaction), redact(event.ServerName)
	event.Request, event.User = nil, sentry.User{}
	for i := range event.Fingerprint {
		event.Fingerprint[i] = redact(event.Fingerprint[i])
	}
	for i := range event.Exception {
		one := &event.Exception[i]
		one.Type, one.Value = redact(one.Type), redact(one.Value)
		scrubStack(one.Stacktrace, redactor)
		if one.Mechanism != nil {
			one.Mechanism.Data, _ = scrubbed(one.Mechanism.Data, redactor).(map[string]any)
		}
	}
	for i := range event.Threads {
		scrubStack(event.Threads[i].Stacktrace, redactor)
	}
	for key, value := range event.Tags {
		event.Tags[key] = redact(value)
	}
	for name, values := range event.Contexts {
		event.Contexts[name], _ = scrubbed(values, redactor).(map[string]any)
	}
	return event
}

// scrubStack removes the secrets from the lines of code and the local variables of a stack trace; nil is none.
func scrubStack(stack *sentry.Stacktrace, redactor *strings.Replacer) {
	if stack == nil {
		return
	}
	for i := range stack.Frames {
		f := &stack.Frames[i]
		f.ContextLine = redactor.Replace(f.ContextLine)
		f.Vars, _ = scrubbed(f.Vars, redactor).(map[string]any)
		for _, lines := range [][]string{f.PreContext, f.PostContext} {
			for j := range lines {
				lines[j] = redactor.Replace(lines[j])
			}
		}
	}
}

// scrubbed is a copy of what is in an event without the secrets in its texts and keys.
func scrubbed(v any, redactor *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return redactor.Replace(v)
	case map[string]any:
		if v == nil {
			return v
		}
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[redactor.Replace(key)] = scrubbed(value, redactor)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = scrubbed(v[i], redactor)
		}
		return out
	case bool, int, int32, int64, uint64, float64, nil:
		return v
	default:
		return redactor.Replace(fmt.Sprint(v))
	}
}
