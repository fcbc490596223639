package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// printf writes text for people to stdout. Strings among args may come from others, so they are made plain. The first error of a write is
// kept in stdoutErr, and Run reports it: a script must not take part of the output for all of it.
func (a *app) printf(format string, args ...any) {
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			args[i] = plain(v.String())
		}
	}
	_, err := fmt.Fprintf(a.Stdout, format, args...)
	a.keep(err)
}

// tell writes to stderr. Errors are dropped: the exit code says enough.
func (a *app) tell(format string, args ...any) { _, _ = fmt.Fprintf(a.Stderr, format, args...) }

// writeJSON writes v to stdout.
func (a *app) writeJSON(v any) { a.keep(writeJSON(a.Stdout, v)) }

func (a *app) keep(err error) {
	if a.stdoutErr == nil {
		a.stdoutErr = err
	}
}

// writeJSON writes v as one line.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// plain replaces the characters that could control a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// plainLines is plain for text of several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return strings.Join(lines, "\n")
}

// moment is a time for people: UTC, and how far away it is.
func moment(t time.Time) string {
	at, d := t.UTC().Format(time.RFC3339), time.Until(t)
	if d >= 0 {
		return fmt.Sprintf("%s (in %s)", at, short(d))
	}
	return fmt.Sprintf("%s (%s ago)", at, short(-d))
}

// short is a duration in its two largest units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Second); {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}
