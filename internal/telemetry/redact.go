package telemetry

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
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
