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

// newRedactor returns a replacer that puts "[redacted]" in the place of each secret, in whatever form it shows up. Empty
// secrets are ignored; with none left nothing is replaced.
func newRedactor(secrets []string) *strings.Replacer {
	var all []string
	for _, secret := range secrets {
		if secret != "" {
			all = append(all, forms(secret)...)
		}
	}
	// The longest first: a secret that begins with another one must not leave its tail behind.
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	pairs := make([]string, 0, 2*len(all))
	for _, form := range slices.Compact(all) {
		pairs = append(pairs, form, redacted)
	}
	return strings.NewReplacer(pairs...)
}

// forms returns a secret as it is and as it looks once escaped, up to twice: an error of the HTTP client quotes its URL, the
// sync protocol puts the token into its URL escaped twice, and a log line is JSON.
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

// redactingWriter replaces secrets in what is written to w. It sees one whole log line per Write, after encoding, so no
// kind of field can slip past it.
type redactingWriter struct {
	w        io.Writer
	redactor *strings.Replacer
}

func (r redactingWriter) Write(p []byte) (int, error) {
	// In one Write, for w may be shared with others.
	if _, err := io.WriteString(r.w, r.redactor.Replace(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
