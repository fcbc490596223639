package activities

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

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

const (
	// maxWaiting bounds the re-checks that wait for a list at the same time, so that an Auth Worker that hangs while thousands of
	// deletions are due leaves room for everything else: each of those that wait costs Temporal a heartbeat now and then. The rest
	// come again after crowdedRetry, the pace of the lists.
	maxWaiting   = 250
	crowdedRetry = 20 * time.Second
	// RecheckHeartbeat is how often a re-check that waits says that its worker is alive.
	RecheckHeartbeat = 4 * time.Second
)

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
	// AskedAt is the moment from which the answer counts. Zero in those of an older version.
	AskedAt time.Time `json:"askedAt,omitzero"`
}

// ConfirmAbsent asks the Auth Worker for a complete list, fetched after the call, and whether it lacks the workspace. A list
// that proves nothing is an error to retry.
func (a *Authority) ConfirmAbsent(ctx context.Context, in AbsenceInput) (AbsenceResult, error) {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxWaiting {
		return AbsenceResult{}, retryAfter(errors.New("too many re-checks wait for the auth worker"), ErrTypeUnavailable, crowdedRetry)
	}
	ctx, cancel := untilStop(ctx)
	defer cancel()
	defer beat(ctx, RecheckHeartbeat)()
	res, err := a.AuthWorker.Absent(ctx, in.InstanceID)
	if err != nil {
		return AbsenceResult{}, wrap(err)
	}
	if res.ListEntries == 0 && !in.ByEvent {
		return AbsenceResult{}, temporal.NewApplicationError(
			"the auth worker lists no workspace at all, and no event asked for this deletion", ErrTypeUnavailable)
	}
	return AbsenceResult{Absent: res.Absent, AskedAt: res.FetchedAt.UTC()}, nil
}
