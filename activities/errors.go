package activities

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
)

// Error types as they stand in workflow histories.
const (
	// ErrTypeInvalid: the request can never succeed as it is.
	ErrTypeInvalid = "Invalid"
	// ErrTypeNotFound: no such store is monitored.
	ErrTypeNotFound = "NotFound"
	// ErrTypeUnauthorized: a token was refused. Retried, for an operator can mend it while the event waits.
	ErrTypeUnauthorized = "Unauthorized"
	// ErrTypePlanChanged: the plan to be carried out is no longer the one that was approved.
	ErrTypePlanChanged = "PlanChanged"
	// ErrTypeUnavailable: everything else; retried.
	ErrTypeUnavailable = "Unavailable"
)

// unauthorizedRetry spares the other side a flood of refused calls while a wrong token waits to be mended.
const unauthorizedRetry = 30 * time.Second

// wrap is the only place that decides what Temporal may retry.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	var status *authclient.StatusError
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		return temporal.NewNonRetryableApplicationError(err.Error(), ErrTypeInvalid, nil)
	case errors.Is(err, storemanager.ErrNotFound):
		return temporal.NewNonRetryableApplicationError(err.Error(), ErrTypeNotFound, nil)
	case errors.Is(err, storemanager.ErrUnauthorized), errors.Is(err, authclient.ErrUnauthorized):
		return retryAfter(err, ErrTypeUnauthorized, unauthorizedRetry)
	case errors.Is(err, storemanager.ErrLossUnacknowledged): // an operator has to agree first
		return retryAfter(err, ErrTypeUnavailable, unauthorizedRetry)
	case errors.Is(err, storemanager.ErrTooEarly):
		return retryAfter(err, ErrTypeUnavailable, time.Second)
	case errors.As(err, &status) && status.RetryAfter > 0:
		return retryAfter(err, ErrTypeUnavailable, status.RetryAfter)
	}
	return temporal.NewApplicationErrorWithCause(err.Error(), ErrTypeUnavailable, err)
}

// patience is how long a reconcile run waits when the Auth Worker wants to be left alone.
const patience = 10 * time.Second

// wrapList is wrap for the list of a reconcile run. There is one run at a time, so one that waits long keeps all others from trying: it
// fails instead, and the next one, or whoever asks for one by hand, tries again.
func wrapList(err error) error {
	var status *authclient.StatusError
	if errors.As(err, &status) && status.RetryAfter > patience {
		return temporal.NewNonRetryableApplicationError(err.Error(), ErrTypeUnavailable, nil)
	}
	return wrap(err)
}

// planChanged is final: somebody has to look again. It is an answer and no fault, so nothing and nobody is alarmed by it.
func planChanged(approved, why string) error {
	return temporal.NewApplicationErrorWithOptions(fmt.Sprintf("plan %s was approved, and %s: nothing was done", approved, why), ErrTypePlanChanged,
		temporal.ApplicationErrorOptions{NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign})
}

func retryAfter(err error, errType string, delay time.Duration) error {
	return temporal.NewApplicationErrorWithOptions(err.Error(), errType, temporal.ApplicationErrorOptions{NextRetryDelay: delay})
}
