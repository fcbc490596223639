package activities

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
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
	// maxWaiting bounds the re-checks that wait for a list at the same time. Each of them costs Temporal a heartbeat now and then, so an
	// Auth Worker that hangs while thousands of deletions are due must leave room for everything else. The rest come again after
	// crowdedRetry, the pace of the lists.
	maxWaiting   = 250
	crowdedRetry = 20 * time.Second
	// RecheckHeartbeat is how often a waiting re-check says that its worker is alive.
	RecheckHeartbeat = 4 * time.Second
)

// ConfirmAbsent asks the Auth Worker for a complete list, fetched after the call, and answers whether it lacks the workspace. A list that
// proves nothing is an error, which is retried.
func (a *Authority) ConfirmAbsent(ctx context.Context, in contract.AbsenceInput) (contract.AbsenceResult, error) {
	defer a.waiting.Add(-1)
	if a.waiting.Add(1) > maxWaiting {
		return contract.AbsenceResult{}, retryAfter(errors.New("too many re-checks wait for the auth worker"), contract.ErrTypeUnavailable, crowdedRetry)
	}
	ctx, cancel := untilStop(ctx)
	defer cancel()
	defer beat(ctx, RecheckHeartbeat)()
	res, err := a.AuthWorker.Absent(ctx, in.InstanceID)
	if err != nil {
		return contract.AbsenceResult{}, wrapAnswer(err)
	}
	if res.ListEntries == 0 && !in.ByEvent {
		return contract.AbsenceResult{}, temporal.NewApplicationError(
			"the auth worker lists no workspace at all, and no event asked for this deletion", contract.ErrTypeUnavailable)
	}
	return contract.AbsenceResult{Absent: res.Absent, AskedAt: res.FetchedAt.UTC(), List: contract.ListRef{
		At: res.FetchedAt.UTC(), Hash: res.ListHash, Entries: res.ListEntries,
	}}, nil
}
