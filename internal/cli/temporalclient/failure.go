package temporalclient

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/orchestrator"
)

// Failure turns an error of a request to Temporal into what an operator can act on.
func (c *Connection) Failure(err error) error {
	var (
		noNamespace *serviceerror.NamespaceNotFound
		denied      *serviceerror.PermissionDenied
		execution   *temporal.WorkflowExecutionError
		app         *temporal.ApplicationError
		known       *exit.Failure
	)
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &noNamespace):
		return exit.Fail(
			exit.Unreachable, "unreachable", fmt.Sprintf("Temporal at %s has no namespace %q", c.Address, c.Namespace),
			"check --namespace or TEMPORAL_NAMESPACE",
		)
	case errors.As(err, &denied), isUnauthenticated(err):
		return exit.Fail(
			exit.Refused, "unauthorized", fmt.Sprintf("Temporal at %s refused the credentials", c.Address),
			"check TEMPORAL_API_KEY, the TLS settings or --profile",
		)
	case errors.Is(err, orchestrator.ErrNoWorker):
		return exit.Fail(
			exit.Unreachable, "no_worker", fmt.Sprintf("Temporal at %s answers, but no worker works for it", c.Address),
			"start cmd/worker, or check --namespace",
		)
	case errors.Is(err, orchestrator.ErrInvalid):
		return exit.Fail(exit.Refused, "invalid", err.Error(), "")
	case errors.As(err, &execution) && errors.As(err, &app):
		return workFailure(app)
	case errors.As(err, &execution):
		return exit.Fail(exit.Failed, "failed", "the workflow failed: "+errors.Unwrap(execution).Error(), exit.SeeWebUI)
	case TimedOut(err):
		return c.timedOut()
	}
	return c.unreachable(err)
}

// workFailure is the failure of a workflow, told by the type of the error that its activity failed with.
func workFailure(app *temporal.ApplicationError) *exit.Failure {
	f := exit.Fail(exit.Failed, "failed", "the workflow failed: "+app.Message(), exit.SeeWebUI)
	switch app.Type() {
	case contract.ErrTypeUnavailable: // the Auth Worker or the store manager
		f.Exit, f.Code = exit.Unreachable, "unreachable"
	case contract.ErrTypeUnauthorized:
		f.Exit, f.Code = exit.Refused, "unauthorized"
	}
	return f
}

// TimedOut says whether the error is that of a wait that took too long.
func TimedOut(err error) bool {
	var deadline *serviceerror.DeadlineExceeded
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &deadline)
}

func (c *Connection) timedOut() *exit.Failure {
	return exit.Fail(
		exit.Unreachable, "unreachable", fmt.Sprintf("Temporal at %s has not answered within the time-out", c.Address),
		fmt.Sprintf("give it a longer --timeout than %s, or check that it runs, and --address, TEMPORAL_ADDRESS or --profile", c.timeout),
	)
}

// WaitFailure is the failure of a command whose wait ended early. The work is durable: it goes on unless it has failed itself.
func (c *Connection) WaitFailure(ctx context.Context, err error, what, todo string) error {
	var execution *temporal.WorkflowExecutionError
	switch {
	case ctx.Err() != nil:
		return exit.Interruption(what, todo)
	case errors.As(err, &execution):
		return c.Failure(err)
	}
	return exit.NotYet(what, todo)
}

func (c *Connection) unreachable(err error) *exit.Failure {
	return exit.Fail(
		exit.Unreachable, "unreachable", fmt.Sprintf("Temporal at %s can't be reached (%s)", c.Address, exit.Innermost(err)),
		"check that it runs, and --address, TEMPORAL_ADDRESS or --profile",
	)
}
