// Package text puts what the CLI shows into words and letters that do no harm to a terminal.
package text

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// WriteJSON writes v as one line.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Plain replaces the characters that could control a terminal.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// PlainLines is Plain for text of several lines.
func PlainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Plain(line)
	}
	return strings.Join(lines, "\n")
}

// Moment is a time for people: UTC, and how far away it is.
func Moment(t time.Time) string {
	at, d := t.UTC().Format(time.RFC3339), time.Until(t)
	if d >= 0 {
		return fmt.Sprintf("%s (in %s)", at, Short(d))
	}
	return fmt.Sprintf("%s (%s ago)", at, Short(-d))
}

// Short is a duration in its two largest units.
func Short(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Round(time.Second); {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.String()
}
