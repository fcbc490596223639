package status

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
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
	if !s.mayReconcile(w, r, triggeredAt) {
		return
	}
	o := asker.Of(w, r, "", "")
	s.reconcile(w, r, triggeredAt, contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true, Actor: o.Actor, Origin: o})
}

// planHash is what names a plan.
var planHash = regexp.MustCompile(`^[0-9a-f]{16}$`)

// Approve starts a run that carries out exactly the plan that the body names, with removals that the guard keeps back, or does nothing.
func (s *Status) Approve(w http.ResponseWriter, r *http.Request) {
	body, refused := problem.ReadBody(w, r)
	if refused != nil {
		refused.Write(w)
		return
	}
	var req api.ApproveRequest
	if err := problem.Decode(body, &req); err != nil {
		problem.Write(w, problem.KindInvalid, "The body must be a JSON object of plan, reason and actor")
		return
	}
	o := asker.Of(w, r, req.Actor, req.Reason)
	switch {
	case !planHash.MatchString(req.Plan):
		problem.Write(w, problem.KindInvalid, "plan must be the 16 hexadecimal digits that a run's report or a plan has shown")
		return
	case o.Actor == "" || o.Reason == "":
		problem.Write(w, problem.KindInvalid, "reason and actor are required")
		return
	case !s.config.ReconcileEnabled:
		problem.Write(w, problem.KindDisabled, "Reconciliation is disabled")
		return
	}
	o.Plan = req.Plan
	s.reconcile(w, r, time.Now(), contract.ReconcileInput{
		Trigger: contract.TriggerManual, Confirm: true, ApprovedPlan: req.Plan, Actor: o.Actor, Origin: o,
	})
}

// reconcile starts a run and answers with its report.
func (s *Status) reconcile(w http.ResponseWriter, r *http.Request, triggeredAt time.Time, in contract.ReconcileInput) {
	run, ok := s.startReconcile(w, r, in)
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

// mayReconcile says whether a manual run may be started. It has answered the request when it returns false.
func (s *Status) mayReconcile(w http.ResponseWriter, r *http.Request, now time.Time) bool {
	if !s.config.ReconcileEnabled {
		problem.Write(w, problem.KindDisabled, "Reconciliation is disabled")
		return false
	}
	if s.config.ManualReconcileLimit <= 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
	defer cancel()
	rec, err := s.manager.Reconciliation(ctx)
	if err != nil {
		s.managerAway(w, err)
		return false
	}
	if wait := s.manualWait(&rec, now); wait > 0 {
		(&problem.Refusal{Kind: problem.KindRateLimited, Message: "A manual reconcile has just succeeded", RetryAfter: wait}).Write(w)
		return false
	}
	return true
}

// startReconcile has answered the request when it returns false.
func (s *Status) startReconcile(w http.ResponseWriter, r *http.Request, in contract.ReconcileInput) (orchestrator.ReconcileRun, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
	defer cancel()
	run, err := s.orchestrator.StartReconcile(ctx, in)
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
