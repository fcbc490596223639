// Package duration reads the durations of flags: those of Go, and days and weeks as well.
package duration

import (
	"errors"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"
)

// Parse reads a duration such as 90s, 1h30m, 7d, 2w or 1d12h. A day has 24 hours.
func Parse(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, errors.New("want a duration such as 90s, 1h30m, 7d or 2w")
	}
	return time.Duration(d), nil
}

// Var defines a flag with a duration that Parse reads.
func Var(flags *pflag.FlagSet, p *time.Duration, name string, value time.Duration, usage string) {
	*p = value
	flags.Var((*flag)(p), name, usage)
}

// flag implements pflag.Value.
type flag time.Duration

// String implements pflag.Value.
func (f *flag) String() string { return time.Duration(*f).String() }

// Set implements pflag.Value.
func (f *flag) Set(text string) error {
	d, err := Parse(text)
	*f = flag(d)
	return err
}

// Type implements pflag.Value.
func (*flag) Type() string { return "duration" }
