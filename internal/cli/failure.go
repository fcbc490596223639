package cli

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/orchestrator"
)

// exitCode is the exit code of the process. The help (rootLong) documents each.
type exitCode int

const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitUnreachable exitCode = 3
	exitNotFound    exitCode = 4
	exitRefused     exitCode = 5
	exitGuard       exitCode = 6
	exitAccepted    exitCode = 7
	exitDrift       exitCode = 8
	exitWrong       exitCode = 9
	exitInterrupted exitCode = 130
)

// seeWebUI is what to do about a workflow that failed.
const seeWebUI = "the Temporal Web UI shows it"

// failure is why a command ends with another code than exitDone.
type failure struct {
	exit exitCode
	// code is the error's code in the JSON, for scripts.
	code string
	// what happened, and what to do about it; todo is "" if that is plain.
	what, todo string
}

func (f *failure) Error() string {
	if f.todo == "" {
		return f.what
	}
	return f.what + "; " + f.todo
}

// failureBody is what --json writes to stderr.
type failureBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		// ExitCode is that of the process, for those who don't see it: go run makes 1 of every one.
		ExitCode int `json:"exitCode"`
	} `json:"error"`
}

func (f *failure) body() (b failureBody) {
	b.Error.Code, b.Error.Message, b.Error.ExitCode = f.code, f.Error(), int(f.exit)
	return b
}

// asFailure makes a failure of every error. Those that are none yet are cobra's: unknown commands, bad or missing flags.
func asFailure(ctx context.Context, err error) *failure {
	var f *failure
	switch {
	case errors.As(err, &f) && (f.exit == exitInterrupted || ctx.Err() == nil):
		return f
	case ctx.Err() != nil:
		return interrupted("whether the request was taken is not known", "it can be repeated without harm")
	}
	return usageError(err.Error())
}

func usageError(what string) *failure {
	return &failure{exitUsage, "usage", what, "see starter --help"}
}

func unexpected(err error) *failure {
	return &failure{exitFailed, "failed", err.Error(), ""}
}

func notYet(what, todo string) *failure {
	return &failure{exitAccepted, "accepted", what + ", its outcome is not known yet", todo}
}

func interrupted(what, todo string) *failure {
	return &failure{exitInterrupted, "interrupted", "interrupted: " + what, todo}
}

// failure turns an error of a request to Temporal into what an operator can act on.
func (c *connection) failure(err error) error {
	var (
		noNamespace *serviceerror.NamespaceNotFound
		denied      *serviceerror.PermissionDenied
		execution   *temporal.WorkflowExecutionError
		app         *temporal.ApplicationError
		known       *failure
	)
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &noNamespace):
		return &failure{
			exitUnreachable, "unreachable", fmt.Sprintf("Temporal at %s has no namespace %q", c.address, c.namespace),
			"check --namespace or TEMPORAL_NAMESPACE",
		}
	case errors.As(err, &denied), isUnauthenticated(err):
		return &failure{
			exitRefused, "unauthorized", fmt.Sprintf("Temporal at %s refused the credentials", c.address),
			"check TEMPORAL_API_KEY, the TLS settings or --profile",
		}
	case errors.Is(err, orchestrator.ErrNoWorker):
		return &failure{
			exitUnreachable, "no_worker", fmt.Sprintf("Temporal at %s answers, but no worker works for it", c.address),
			"start cmd/worker, or check --namespace",
		}
	case errors.Is(err, orchestrator.ErrInvalid):
		return &failure{exitRefused, "invalid", err.Error(), ""}
	case errors.As(err, &execution) && errors.As(err, &app):
		return workFailure(app)
	case errors.As(err, &execution):
		return &failure{exitFailed, "failed", "the workflow failed: " + errors.Unwrap(execution).Error(), seeWebUI}
	case timedOut(err):
		return c.timedOut()
	}
	return c.unreachable(err)
}

// workFailure is the failure of a workflow, told by the type of the error that its activity failed with.
func workFailure(app *temporal.ApplicationError) *failure {
	f := &failure{exitFailed, "failed", "the workflow failed: " + app.Message(), seeWebUI}
	switch app.Type() {
	case contract.ErrTypeUnavailable: // the Auth Worker or the store manager
		f.exit, f.code = exitUnreachable, "unreachable"
	case contract.ErrTypeUnauthorized:
		f.exit, f.code = exitRefused, "unauthorized"
	}
	return f
}

func timedOut(err error) bool {
	var deadline *serviceerror.DeadlineExceeded
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &deadline)
}

func (c *connection) timedOut() *failure {
	return &failure{
		exitUnreachable, "unreachable", fmt.Sprintf("Temporal at %s has not answered within the time-out", c.address),
		fmt.Sprintf("give it a longer --timeout than %s, or check that it runs, and --address, TEMPORAL_ADDRESS or --profile", c.timeout),
	}
}

// waitFailure is the failure of a command whose wait ended early. The work is durable: it goes on unless it has failed itself.
func (c *connection) waitFailure(ctx context.Context, err error, what, todo string) error {
	var execution *temporal.WorkflowExecutionError
	switch {
	case ctx.Err() != nil:
		return interrupted(what, todo)
	case errors.As(err, &execution):
		return c.failure(err)
	}
	return notYet(what, todo)
}

func (c *connection) unreachable(err error) *failure {
	return &failure{
		exitUnreachable, "unreachable", fmt.Sprintf("Temporal at %s can't be reached (%s)", c.address, innermost(err)),
		"check that it runs, and --address, TEMPORAL_ADDRESS or --profile",
	}
}

// innermost is the innermost cause. The layers around it would repeat what the failure says.
func innermost(err error) error {
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
