package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
)

// errStillRefusing: events have been refused lately, or since the run was requested.
var errStillRefusing = errors.New("events are still refused")

// repairOutages requests a reconcile run at once, and another one each time that events are taken again after some had to be refused: their
// senders may have given up, and then only reconciliation can find out. It ends with ctx.
func (in *Intake) repairOutages(ctx context.Context) {
	tick := time.NewTicker(in.bounds.OutagePoll)
	defer tick.Stop()
	for warned := false; ; {
		err := in.requestRepair(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			warned = false
			for in.refused.Load() == 0 { // the wake-up may be about refusals that have been repaired
				select {
				case <-ctx.Done():
					return
				case <-in.outage:
				}
			}
		case !warned:
			warned = true
			in.log.Warn("reconcile not requested yet, trying until events are taken", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// requestRepair returns nil once a run has been requested that comes after every refusal so far.
func (in *Intake) requestRepair(ctx context.Context) error {
	// A run now would come before the refusals that are still to come.
	switch {
	case in.backlog.over.Load():
		return errBacklog
	case in.refusedLast.within(in.bounds.RepairAfter):
		return errStillRefusing
	}
	refused := in.refused.Load()
	reach, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := in.orchestrator.Reachable(reach); err != nil {
		return err
	}
	requested, err := in.requestReconcile(ctx)
	if err != nil {
		return err
	}
	if !requested && in.Refusing() || !in.refused.CompareAndSwap(refused, 0) {
		return errStillRefusing
	}
	if refused > 0 {
		in.log.Info("webhooks are taken again", zap.Int64("refused", refused))
		in.sentry.Over(telemetry.Operation{Name: operationWebhook, Phase: "outage"},
			fmt.Sprintf("webhooks are taken again, %d were refused, and a reconcile run repairs what they would have done", refused), in.refusedSince.ago(), 0)
	}
	return nil
}

// refusalMemory is for how long an event that Temporal did not take makes the edge not ready. It must end by itself: an edge that is not ready gets
// no event that could show that Temporal takes them again.
const refusalMemory = 10 * time.Second

// Refusing says whether Temporal did not take the newest event, less than 10 s ago.
func (in *Intake) Refusing() bool { return in.notTaken.within(refusalMemory) }
