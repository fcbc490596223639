package config

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the settings from the environment, given as "NAME=value" pairs (os.Environ), and secrets from the files that it names. It checks that
// those settings which the role requires are set. The error has one line for each bad value, and one line that names all that is missing.
func Load(environ []string, role Role) (*Config, error) {
	resolved, files, problems := resolve(environ, nil)
	if err := CheckSpelling(resolved, nil); err != nil {
		return nil, errors.New(strings.Join(files.named(strings.Split(err.Error(), "\n")), "\n"))
	}
	vars := map[string]string{}
	for _, pair := range resolved {
		if name, value, ok := strings.Cut(pair, "="); ok && value != "" { // an empty variable counts as unset
			vars[name] = value
		}
	}
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Environment: vars})
	if all, ok := errors.AsType[env.AggregateError](err); ok {
		for _, e := range all.Errors {
			problems = append(problems, parseProblem(e, vars))
		}
	} else if err != nil {
		return nil, err
	}
	problems = append(problems, c.readSyncURLs(vars)...)
	problems = append(problems, c.conflicts(role)...)
	var missing []string
	for field, value := range fields(&c) {
		name := field.Tag.Get("env")
		if requiredBy(field, role) && vars[name] == "" && files[name] == "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, field.Tag.Get("accepts")))
		}
		if p := checkField(field, value, vars[name]); p != "" && !slices.Contains(problems, p) {
			problems = append(problems, p)
		}
	}
	if len(missing) > 0 {
		problems = append(problems, "required and not set: "+strings.Join(missing, ", ")+forATry(role))
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(files.named(problems), "\n"))
	}
	if len(files) > 0 {
		c.live = &live{environ: slices.Clone(environ), role: role, files: files}
	}
	return &c, nil
}

// fields yields the settings.
func fields(c *Config) func(func(reflect.StructField, reflect.Value) bool) {
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		v := reflect.ValueOf(c).Elem()
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && !yield(v.Type().Field(i), v.Field(i)) {
				return
			}
		}
	}
}

func parseProblem(err error, vars map[string]string) string {
	var parse env.ParseError
	if !errors.As(err, &parse) {
		return err.Error()
	}
	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	return problem(field, vars[field.Tag.Get("env")])
}

// problem is the line about a bad value.
func problem(field reflect.StructField, value string) string {
	return fmt.Sprintf("%s=%s is not accepted: want %s", field.Tag.Get("env"), shown(field.Type, value), field.Tag.Get("accepts"))
}

func forATry(role Role) string {
	if role == RoleStandalone {
		return "; to try Storekeeper without them, start with --demo"
	}
	return ""
}

func checkField(field reflect.StructField, value reflect.Value, given string) string {
	if options := field.Tag.Get("oneof"); options != "" && !slices.Contains(strings.Split(options, ","), value.String()) {
		return problem(field, given)
	}
	for tag, outside := range map[string]func(value, limit int64) bool{
		"min": func(value, limit int64) bool { return value < limit },
		"max": func(value, limit int64) bool { return value > limit },
	} {
		text := field.Tag.Get(tag)
		if text == "" {
			continue
		}
		// Both kinds of durations are int64 nanoseconds. A test over all tags catches a tag that does not parse.
		limit, err := time.ParseDuration(text)
		if err != nil || outside(value.Int(), int64(limit)) {
			return problem(field, given)
		}
	}
	return ""
}

// Milliseconds is a duration that is written as a whole number of milliseconds.
type Milliseconds time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Milliseconds) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n > int64(1<<63-1)/int64(time.Millisecond) {
		return fmt.Errorf("no whole number of milliseconds")
	}
	*m = Milliseconds(time.Duration(n) * time.Millisecond)
	return nil
}

// Port is a TCP port.
type Port uint16

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Port) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	*p = Port(n)
	return err
}

// Percent is a whole number from 0 to 100.
type Percent int

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Percent) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > 100 {
		return fmt.Errorf("no percentage")
	}
	*p = Percent(n)
	return nil
}

// Count is a whole number that is not negative.
type Count int

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("no count")
	}
	*c = Count(n)
	return nil
}

// Positive is a whole number of at least 1.
type Positive int

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Positive) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return fmt.Errorf("no positive number")
	}
	*p = Positive(n)
	return nil
}

// HostPort is an address to listen on. The host may be empty, the port is 0 to 65535.
type HostPort string

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HostPort) UnmarshalText(text []byte) error {
	_, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return err
	}
	var p Port
	if err := p.UnmarshalText([]byte(port)); err != nil {
		return err
	}
	*h = HostPort(text)
	return nil
}

// HostPortOrOff is an address to listen on, or "off" for none.
type HostPortOrOff string

const off = "off"

// Address is where to listen; "" means nowhere.
func (h HostPortOrOff) Address() string {
	if h == off {
		return ""
	}
	return string(h)
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *HostPortOrOff) UnmarshalText(text []byte) error {
	if string(text) == off {
		*h = off
		return nil
	}
	return (*HostPort)(h).UnmarshalText(text)
}

// Given says whether the environment sets the variable. An empty variable counts as unset.
func Given(environ []string, name string) bool {
	return slices.ContainsFunc(environ, func(pair string) bool {
		n, value, _ := strings.Cut(pair, "=")
		return n == name && value != ""
	})
}
