package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// PostgresURL is the URL of a PostgreSQL database. It may hold a password, so it prints like a Secret.
type PostgresURL string

// UnmarshalText implements encoding.TextUnmarshaler. It does not check the parameters: PostgreSQL does.
func (u *PostgresURL) UnmarshalText(text []byte) error {
	parsed, err := url.Parse(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("it can't be parsed")
	case parsed.Scheme != "postgres" && parsed.Scheme != "postgresql":
		return fmt.Errorf("it is no postgres URL")
	case strings.Trim(parsed.Path, "/") == "", parsed.Fragment != "":
		return fmt.Errorf("it names no database, or holds a fragment")
	}
	*u = PostgresURL(text)
	return nil
}

// String implements fmt.Stringer.
func (PostgresURL) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (PostgresURL) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (PostgresURL) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (PostgresURL) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// secrets are the parts of it that must never be shown; nil if it is empty.
func (u PostgresURL) secrets() []string {
	parsed, err := url.Parse(string(u))
	if err != nil || u == "" {
		return nil
	}
	all := []string{string(u), parsed.Query().Get("password")}
	if password, ok := parsed.User.Password(); ok {
		escaped := strings.TrimPrefix(url.UserPassword("", password).String(), ":")
		all = append(all, password, escaped)
	}
	return all
}
