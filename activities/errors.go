package activities

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// unauthorizedRetry spares the other side a flood of refused calls until somebody corrects the token.
const unauthorizedRetry = 30 * time.Second

// wrap says which errors of the store manager are worth a retry, and how soon. How often, and for how long, say workflows/options.go and
// workflows/reconcile.go.
func wrap(err error) error { return wrapOf(telemetry.SideStoreManager, err) }

// wrapAnswer is wrap for the Auth Worker.
func wrapAnswer(err error) error { return wrapOf(telemetry.SideAuthWorker, err) }

// wrapOf says in the details which side is to blame for an error that is worth a retry.
func wrapOf(side string, err error) error {
	if err == nil {
		return nil
	}
	blame := telemetry.Blame{Side: side}
	var status *authclient.StatusError
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		return temporal.NewNonRetryableApplicationError(err.Error(), contract.ErrTypeInvalid, nil)
	case errors.Is(err, storemanager.ErrNotFound):
		return temporal.NewNonRetryableApplicationError(err.Error(), contract.ErrTypeNotFound, nil)
	case errors.Is(err, storemanager.ErrUnauthorized), errors.Is(err, authclient.ErrUnauthorized):
		blame.Refused = true
		return retryAfter(err, contract.ErrTypeUnauthorized, unauthorizedRetry, blame)
	case errors.Is(err, storemanager.ErrLossUnacknowledged): // an operator has to agree first
		return retryAfter(err, contract.ErrTypeUnavailable, unauthorizedRetry)
	case errors.Is(err, storemanager.ErrTooEarly):
		return retryAfter(err, contract.ErrTypeUnavailable, time.Second)
	case errors.As(err, &status) && status.RetryAfter > 0:
		return retryAfter(err, contract.ErrTypeUnavailable, status.RetryAfter, blame)
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), contract.ErrTypeUnavailable, temporal.ApplicationErrorOptions{
		Cause: err, Details: []any{blame},
	})
}

// patience is how long a reconcile run waits when the Auth Worker wants to be left alone.
const patience = 10 * time.Second

// wrapList is wrapAnswer for the list of a reconcile run. There is one run at a time, so a run that waits long keeps all others from trying. It
// fails instead, and the next run tries again.
func wrapList(err error) error {
	var status *authclient.StatusError
	if errors.As(err, &status) && status.RetryAfter > patience {
		return temporal.NewNonRetryableApplicationError(err.Error(), contract.ErrTypeUnavailable, nil, telemetry.Blame{Side: telemetry.SideAuthWorker})
	}
	return wrapAnswer(err)
}

// planChanged is final: somebody has to look at the plan again. It is an answer and not a fault, so it raises no alarm.
func planChanged(approved, why string) error {
	return temporal.NewApplicationErrorWithOptions(fmt.Sprintf("plan %s was approved, and %s: nothing was done", approved, why), contract.ErrTypePlanChanged,
		temporal.ApplicationErrorOptions{NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign})
}

func retryAfter(err error, errType string, delay time.Duration, details ...any) error {
	return temporal.NewApplicationErrorWithOptions(err.Error(), errType, temporal.ApplicationErrorOptions{NextRetryDelay: delay, Details: details})
}
