package telemetry

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"go.temporal.io/sdk/temporal"
)

// kindOf is what kind of failure err is: a word of a fixed set, or the name of a Go type or function. Texts are no kinds, because they hold ids.
func kindOf(err error) string {
	if p, ok := errors.AsType[*panicked](err); ok {
		return "panic in " + siteOf(string(p.stack))
	}
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok && app.Type() != "" {
		return app.Type()
	}
	if timeout, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return "timeout " + timeout.TimeoutType().String()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("%T", err)
		}
		err = next
	}
}

// panicked is a panic as an error.
type panicked struct {
	value any
	stack []byte
}

// newPanicked is for a deferred function that has recovered the value.
func newPanicked(value any) *panicked { return &panicked{value, debug.Stack()} }

// KindOfPanic is the Operation.Kind of a panic, for a deferred function that has recovered it.
func KindOfPanic() string { return kindOf(newPanicked(nil)) }

// Error implements error.
func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// siteOf is the function that panicked, by a stack trace in the runtime's form; "" if there is none in it. The trace may begin above the panic, in deferred
// functions, or below it.
func siteOf(stack string) string {
	if _, below, ok := strings.Cut(stack, "\npanic("); ok {
		stack = "panic(" + below
	}
	for line := range strings.Lines(stack) {
		line = strings.TrimSpace(line)
		call := strings.LastIndexByte(line, '(')
		if call <= 0 || strings.HasPrefix(line, "/") || strings.HasPrefix(line, "panic(") || strings.HasPrefix(line, "runtime.") {
			continue
		}
		return line[:call]
	}
	return ""
}
