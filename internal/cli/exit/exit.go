// Package exit has the exit codes of the CLI, and the failures that a command ends with.
package exit

import (
	"context"
	"errors"
)

// Code is the exit code of the process. The help of starter documents each.
type Code int

const (
	Done        Code = 0
	Failed      Code = 1
	Usage       Code = 2
	Unreachable Code = 3
	NotFound    Code = 4
	Refused     Code = 5
	Guard       Code = 6
	Accepted    Code = 7
	Drift       Code = 8
	Wrong       Code = 9
	Interrupted Code = 130
)

// SeeWebUI is what to do about a workflow that failed.
const SeeWebUI = "the Temporal Web UI shows it"

// Failure is why a command ends with another code than Done.
type Failure struct {
	Exit Code
	// Code is the error's code in the JSON, for scripts.
	Code string
	// What happened, and what to do about it; Todo is "" if that is plain.
	What, Todo string
}

// Fail returns a Failure; see its fields.
func Fail(exit Code, code, what, todo string) *Failure {
	return &Failure{Exit: exit, Code: code, What: what, Todo: todo}
}

func (f *Failure) Error() string {
	if f.Todo == "" {
		return f.What
	}
	return f.What + "; " + f.Todo
}

// Body is what --json writes to stderr.
type Body struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		// ExitCode is that of the process, for those who don't see it: go run makes 1 of every one.
		ExitCode int `json:"exitCode"`
	} `json:"error"`
}

// Body returns the failure for --json.
func (f *Failure) Body() (b Body) {
	b.Error.Code, b.Error.Message, b.Error.ExitCode = f.Code, f.Error(), int(f.Exit)
	return b
}

// Of makes a failure of every error. Those that are none yet are cobra's: unknown commands, bad or missing flags.
func Of(ctx context.Context, err error) *Failure {
	var f *Failure
	switch {
	case errors.As(err, &f) && (f.Exit == Interrupted || ctx.Err() == nil):
		return f
	case ctx.Err() != nil:
		return Interruption("whether the request was taken is not known", "it can be repeated without harm")
	}
	return UsageError(err.Error())
}

// UsageError is the failure of a bad flag, argument or id.
func UsageError(what string) *Failure {
	return Fail(Usage, "usage", what, "see starter --help")
}

// Unexpected is the failure of what should not happen.
func Unexpected(err error) *Failure {
	return Fail(Failed, "failed", err.Error(), "")
}

// NotYet is the failure of a wait that ended before the outcome was known.
func NotYet(what, todo string) *Failure {
	return Fail(Accepted, "accepted", what+", its outcome is not known yet", todo)
}

// Interruption is the failure of a command that was interrupted.
func Interruption(what, todo string) *Failure {
	return Fail(Interrupted, "interrupted", "interrupted: "+what, todo)
}

// Innermost is the innermost cause. The layers around it would repeat what the failure says.
func Innermost(err error) error {
	for {
		var next error
		switch e := err.(type) { //nolint:errorlint // this walks the chain itself
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			next = all[len(all)-1]
		}
		if next == nil {
			return err
		}
		err = next
	}
}
