package status

import (
	"encoding/json"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func viewKnown(st storemanager.Store) api.KnownStore {
	status := "stopped"
	if st.State == storemanager.StateMonitored {
		status = "monitoring"
	}
	return api.KnownStore{
		StoreID: st.ID, Status: status,
		FirstMonitoredAt: st.FirstMonitoredAt, LastEnsuredAt: st.LastEnsuredAt, LastStoppedAt: st.LastStoppedAt,
	}
}

// viewTotals is nil when the overview is not known. It names the stores of the page; nil: none.
func viewTotals(o *storemanager.Overview, page *storemanager.Page) *api.StoreTotals {
	if o == nil {
		return nil
	}
	v := &api.StoreTotals{
		MonitoredCount: o.Monitored, DeletionPending: o.DeletionPending, Held: o.Held, Pinned: o.Pinned,
		LastProvisionedAt: o.LastProvisionedAt, LastDeprovisionedAt: o.LastStoppedAt,
		TotalProvisioned: o.TotalProvisioned, TotalDeprovisioned: o.TotalStopped, Connections: o.Connections,
	}
	if page == nil {
		return v
	}
	v.ShownStores = &api.ShownStores{
		SyncURL:           o.SyncURL,
		MonitoredStoreIDs: make([]string, len(page.Stores)), Stores: make([]api.KnownStore, len(page.Stores)),
		Truncated: len(page.Stores) < o.Monitored,
	}
	for i, st := range page.Stores {
		v.MonitoredStoreIDs[i], v.Stores[i] = st.ID, viewKnown(st)
	}
	return v
}

const messageWithheld = "the run failed; with the token this says why"

// viewReconciliation shows ids, and texts that may have some, only to those who bring the token.
func (s *Status) viewReconciliation(st state, trusted bool) api.Reconciliation {
	v := api.Reconciliation{
		Enabled:    s.config.ReconcileEnabled,
		IntervalMs: time.Duration(s.config.ReconcileInterval).Milliseconds(),
		Paused:     st.paused(), Pauses: viewPauses(st.pauses, trusted), IsRunning: st.running(),
	}
	if v.Pauses != nil && v.Pauses.All != nil {
		v.Paused = new(true)
	}
	if !v.Enabled {
		v.Reason = "WORKSPACE_RECONCILE_ENABLED is false"
	}
	if trusted && st.schedule != nil {
		v.PauseNote = st.schedule.Note
	}
	rec := st.reconciliation
	if rec == nil {
		return v
	}
	v.LastSuccessAt, v.Totals = rec.LastSuccessAt, &api.ReconcileTotals{Runs: rec.Runs, Successes: rec.Successes, Failures: rec.Failures}
	if len(rec.Recent) > 0 {
		last := rec.Recent[0]
		took := last.CompletedAt.Sub(last.StartedAt).Milliseconds()
		v.LastRunStartedAt, v.LastRunCompletedAt, v.LastDurationMs = &last.StartedAt, &last.CompletedAt, &took
	}
	if v.LastResult = lastResult(rec); v.LastResult != nil && !trusted {
		v.LastResult.Quarantined, v.LastResult.SetAside, v.LastResult.Failing = nil, nil, nil
		if v.LastResult.Paused != "" {
			v.LastResult.Paused = "paused"
		}
	}
	if failed := rec.LastError; failed != nil {
		v.LastError = &api.ReconcileFailure{Timestamp: failed.CompletedAt, Message: failed.Error}
		if !trusted {
			v.LastError.Message = messageWithheld
		}
	}
	return v
}

// lastResult is the report of the newest run that succeeded; nil when none is known.
func lastResult(rec *storemanager.Reconciliation) *contract.ReconcileReport {
	return newestReport(rec, func(*contract.ReconcileReport) bool { return true })
}

// newestReport is that of the newest successful run that is wanted; nil when none is known.
func newestReport(rec *storemanager.Reconciliation, wanted func(*contract.ReconcileReport) bool) *contract.ReconcileReport {
	if rec == nil {
		return nil
	}
	for _, run := range rec.Recent {
		if report := reportOf(run); run.Error == "" && report != nil && wanted(report) {
			return report
		}
	}
	return nil
}

// reportOf is nil when the run has none.
func reportOf(run storemanager.ReconcileRun) *contract.ReconcileReport {
	var report contract.ReconcileReport
	if json.Unmarshal(run.Report, &report) != nil {
		return nil
	}
	return &report
}

func (s *Status) viewManualReconcile(st state, now time.Time) api.ManualReconcile {
	v := api.ManualReconcile{
		Enabled:       s.config.ReconcileEnabled,
		MinIntervalMs: time.Duration(s.config.ManualReconcileLimit).Milliseconds(),
	}
	v.LastSuccessAt = lastManualSuccess(st.reconciliation)
	v.RetryAfterMs = s.manualWait(st.reconciliation, now).Milliseconds()
	return v
}

func lastManualSuccess(rec *storemanager.Reconciliation) *time.Time {
	manual := newestReport(rec, func(r *contract.ReconcileReport) bool { return r.Trigger == contract.TriggerManual })
	if manual == nil {
		return nil
	}
	return &manual.CompletedAt
}

// manualWait is for how long a manual run is still refused; 0 when it is not. Only manual runs count: scheduled ones must not keep an operator from
// starting one.
func (s *Status) manualWait(rec *storemanager.Reconciliation, now time.Time) time.Duration {
	last := lastManualSuccess(rec)
	if last == nil {
		return 0
	}
	return max(0, last.Add(time.Duration(s.config.ManualReconcileLimit)).Sub(now))
}
