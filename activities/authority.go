package activities

import (
	"context"
	"errors"
	"sync/atomic"

	"go.temporal.io/sdk/temporal"

	"storekeeper/internal/authclient"
)

// AbsenceChecker asks the Auth Worker whether a workspace is gone.
type AbsenceChecker interface {
	Absent(ctx context.Context, id string) (authclient.Absence, error)
}

// Authority are the activities that ask the Auth Worker about one workspace.
type Authority struct {
	AuthWorker AbsenceChecker

	waiting atomic.Int32
}

// maxWaiting bounds the re-checks that wait for a list at the same time to half of what a worker runs, so that an Auth
// Worker that hangs while thousands of deletions are due leaves room for everything else. The rest back off like any failure.
const maxWaiting = 1000

// AbsenceInput asks whether a workspace is gone.
type AbsenceInput struct {
	InstanceID string `json:"instanceId"`
	// ByEvent: an event said that the workspace is gone, so that even an empty list agrees with it. Without an event an
	// empty list proves nothing.
	ByEvent bool `json:"byEvent"`
}

// TelemetryStoreID implements telemetry.StoreIdentifier.
func (in AbsenceInput) TelemetryStoreID() string { return in.InstanceID }

// TelemetryPhase implements telemetry.Phaser.
func (AbsenceInput) TelemetryPhase() string { return "deletion" }

// AbsenceResult answers an AbsenceInput.
type AbsenceResult struct {
	Absent bool `json:"absent"`
}

// ConfirmAbsent asks the Auth Worker for a complete list, fetched after the call, and whether it lacks the workspace. A list
// that proves nothing is an error to retry.
func (a *Authority) ConfirmAbsent(ctx context.Context, in AbsenceInput) (AbsenceResult, error) {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxWaiting {
		return AbsenceResult{}, wrap(errors.New("too many re-checks wait for the auth worker"))
	}
	ctx, cancel := untilStop(ctx)
	defer cancel()
	res, err := a.AuthWorker.Absent(ctx, in.InstanceID)
	if err != nil {
		return AbsenceResult{}, wrap(err)
	}
	if res.ListEntries == 0 && !in.ByEvent {
		return AbsenceResult{}, temporal.NewApplicationError(
			"the auth worker lists no workspace at all, and no event asked for this deletion", ErrTypeUnavailable)
	}
	return AbsenceResult{Absent: res.Absent}, nil
}
