package config

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// Operator is a named caller of the edge.
type Operator struct {
	// Name is the actor of what the caller does.
	Name string
	// Tokens are one, or several while rotating.
	Tokens []Secret
	// ReadOnly callers may look, and do nothing.
	ReadOnly bool
}

// Operators are the named callers of the edge. They print like a Secret.
type Operators []Operator

var (
	operatorName  = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
	operatorToken = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)
)

// UnmarshalText implements encoding.TextUnmarshaler. No error quotes a part of the text.
func (o *Operators) UnmarshalText(text []byte) error {
	*o = nil
	for part := range strings.SplitSeq(string(text), ",") {
		one, err := parseOperator(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		*o = append(*o, one)
	}
	return o.unique()
}

func parseOperator(entry string) (Operator, error) {
	name, rest, _ := strings.Cut(entry, ":")
	tokens, right, hasRight := strings.Cut(rest, ":")
	o := Operator{Name: name, ReadOnly: hasRight}
	for token := range strings.SplitSeq(tokens, "|") {
		if !operatorToken.MatchString(token) {
			return Operator{}, fmt.Errorf("a token is missing, or has characters that it must not have")
		}
		o.Tokens = append(o.Tokens, Secret(token))
	}
	if !operatorName.MatchString(name) || hasRight && right != "read" {
		return Operator{}, fmt.Errorf("a name or a right is not accepted")
	}
	return o, nil
}

// unique refuses a name that comes twice, because it would not say who acts with which right, and a token that comes twice, because it would not
// say who acts.
func (o Operators) unique() error {
	var names []string
	var tokens []Secret
	for _, one := range o {
		if slices.Contains(names, one.Name) {
			return fmt.Errorf("a name comes twice")
		}
		names = append(names, one.Name)
		for _, token := range one.Tokens {
			if slices.Contains(tokens, token) {
				return fmt.Errorf("a token comes twice")
			}
			tokens = append(tokens, token)
		}
	}
	return nil
}

// shares says whether one of the tokens is an operator's.
func (o Operators) shares(tokens Secrets) bool {
	return slices.ContainsFunc(o, func(one Operator) bool {
		return slices.ContainsFunc(one.Tokens, func(token Secret) bool { return slices.Contains(tokens, token) })
	})
}

// String implements fmt.Stringer.
func (Operators) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Operators) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Operators) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Operators) MarshalText() ([]byte, error) { return []byte(redacted), nil }
