package status

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// startTimeout bounds what POST /admin/reconcile does before it waits.
const startTimeout = 5 * time.Second

// Reconcile starts a run and waits for its report.
func (s *Status) Reconcile(w http.ResponseWriter, r *http.Request) {
	triggeredAt := time.Now()
	run, ok := s.startReconcile(w, r, triggeredAt)
	if !ok {
		return
	}
	report, err := s.awaitReport(r, run)
	answer := api.ReconcileAnswer{RunID: run.ID(), TriggeredAt: triggeredAt.UTC()}
	if url := string(s.config.IncidentDashboard); url != "" {
		answer.IncidentDashboardURL = &url
	}
	var status int
	var failed *temporal.WorkflowExecutionError
	switch {
	case err == nil:
		answer.Status, status = "completed", http.StatusOK
		answer.DurationMs, answer.Result, answer.DriftCount = &report.DurationMs, &report, &report.DriftCount
	case errors.As(err, &failed):
		answer.Status, answer.Error, status = "failed", failureMessage(err), http.StatusInternalServerError
	default: // the wait is over, or Temporal went away during it; the run goes on
		answer.Status, status = "running", http.StatusAccepted
	}
	s.log.Info("manual reconcile answered", httpserver.LogRequestID(w), zap.String(telemetry.KeyRunID, answer.RunID),
		zap.String(telemetry.KeyOutcome, answer.Status), zap.Duration(telemetry.KeyDurationMs, time.Since(triggeredAt)), zap.Error(err))
	httpserver.WriteJSON(w, status, answer)
}

// ReconcileRuns answers with all the runs that are kept.
func (s *Status) ReconcileRuns(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	rec, err := s.manager.Reconciliation(ctx)
	if err != nil {
		s.managerAway(w, err)
		return
	}
	httpserver.WriteJSON(w, http.StatusOK, api.ReconcileRuns{Runs: append([]storemanager.ReconcileRun{}, rec.Recent...)})
}

// startReconcile has answered the request when it returns false.
func (s *Status) startReconcile(w http.ResponseWriter, r *http.Request, now time.Time) (orchestrator.ReconcileRun, bool) {
	var none orchestrator.ReconcileRun
	if !s.config.ReconcileEnabled {
		problem.Write(w, problem.KindDisabled, "Reconciliation is disabled")
		return none, false
	}
	ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
	defer cancel()
	if s.config.ManualReconcileLimit > 0 {
		rec, err := s.manager.Reconciliation(ctx)
		if err != nil {
			s.managerAway(w, err)
			return none, false
		}
		if wait := s.manualWait(&rec, now); wait > 0 {
			(&problem.Refusal{Kind: problem.KindRateLimited, Message: "A manual reconcile has just succeeded", RetryAfter: wait}).Write(w)
			return none, false
		}
	}
	run, err := s.orchestrator.StartReconcile(ctx, contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true})
	switch {
	case errors.Is(err, orchestrator.ErrReconcileRunning):
		problem.Write(w, problem.KindConflict, "A reconcile run is under way")
	case err != nil:
		s.frequent.Error("manual reconcile not started", httpserver.LogRequestID(w), zap.Error(err))
		problem.WriteUnavailable(w, "Temporal can't be reached")
	}
	return run, err == nil
}

// awaitReport gives up when reconcileWait is over, the caller has gone, or the shutdown begins.
func (s *Status) awaitReport(r *http.Request, run orchestrator.ReconcileRun) (contract.ReconcileReport, error) {
	ctx, cancel := context.WithTimeout(r.Context(), s.reconcileWait)
	defer cancel()
	go func() {
		select {
		case <-s.draining:
			cancel()
		case <-ctx.Done():
		}
	}()
	return run.Wait(ctx)
}

// failureMessage is the message of an activity's failure. It has nothing that those who bring the token must not see.
func failureMessage(err error) string {
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &app):
		return app.Message()
	case temporal.IsCanceledError(err):
		return "the run was cancelled"
	case temporal.IsTimeoutError(err):
		return "the run timed out"
	}
	return "the run failed; the Temporal Web UI shows why"
}
