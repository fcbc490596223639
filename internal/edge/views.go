package edge

import (
	"encoding/json"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// orchestratorView is the contract's "orchestrator". The ids, and what is known of each, are left out for those who bring no
// token.
type orchestratorView struct {
	MonitoredCount      int        `json:"monitoredCount"`
	DeletionPending     int        `json:"deletionPending"`
	Held                int        `json:"held"`
	Pinned              int        `json:"pinned"`
	LastProvisionedAt   *time.Time `json:"lastProvisionedAt"`
	LastDeprovisionedAt *time.Time `json:"lastDeprovisionedAt"`
	TotalProvisioned    int64      `json:"totalProvisioned"`
	TotalDeprovisioned  int64      `json:"totalDeprovisioned"`
	// Connections counts the monitored stores by their status.
	Connections map[storemanager.ConnectionState]int `json:"connections"`

	*shownStoresView
}

// shownStoresView names stores, and where their events are to be had in general. Truncated says that there are more than it
// names.
type shownStoresView struct {
	SyncURL           string              `json:"syncUrl,omitempty"`
	MonitoredStoreIDs []string            `json:"monitoredStoreIds"`
	Stores            []orchestratedStore `json:"stores"`
	Truncated         bool                `json:"truncated"`
}

// orchestratedStore is the contract's "orchestrator" of one store. Status is "monitoring" or "stopped".
type orchestratedStore struct {
	StoreID          string     `json:"storeId"`
	Status           string     `json:"status"`
	FirstMonitoredAt *time.Time `json:"firstMonitoredAt"`
	LastEnsuredAt    *time.Time `json:"lastEnsuredAt"`
	LastStoppedAt    *time.Time `json:"lastStoppedAt"`
}

func viewOrchestrated(st storemanager.Store) orchestratedStore {
	status := "stopped"
	if st.State == storemanager.StateMonitored {
		status = "monitoring"
	}
	return orchestratedStore{st.ID, status, st.FirstMonitoredAt, st.LastEnsuredAt, st.LastStoppedAt}
}

// viewOrchestrator is nil when the overview is not known; a nil page names no stores.
func viewOrchestrator(o *storemanager.Overview, page *storemanager.Page) *orchestratorView {
	if o == nil {
		return nil
	}
	v := &orchestratorView{
		MonitoredCount: o.Monitored, DeletionPending: o.DeletionPending, Held: o.Held, Pinned: o.Pinned,
		LastProvisionedAt: o.LastProvisionedAt, LastDeprovisionedAt: o.LastStoppedAt,
		TotalProvisioned: o.TotalProvisioned, TotalDeprovisioned: o.TotalStopped, Connections: o.Connections,
	}
	if page == nil {
		return v
	}
	v.shownStoresView = &shownStoresView{
		SyncURL:           o.SyncURL,
		MonitoredStoreIDs: make([]string, len(page.Stores)), Stores: make([]orchestratedStore, len(page.Stores)),
		Truncated: len(page.Stores) < o.Monitored,
	}
	for i, st := range page.Stores {
		v.MonitoredStoreIDs[i], v.Stores[i] = st.ID, viewOrchestrated(st)
	}
	return v
}

// reconciliationView is the contract's "reconciliation". Null is what is not known or has not happened yet.
type reconciliationView struct {
	Enabled bool `json:"enabled"`
	// Reason is why it is disabled.
	Reason     string `json:"reason,omitempty"`
	IntervalMs int64  `json:"intervalMs"`
	// Paused: the schedule is, which starts no runs then, or an operator has paused all stores, and runs only look.
	Paused *bool `json:"paused"`
	// PauseNote is that of the schedule.
	PauseNote          string                    `json:"pauseNote,omitempty"`
	Pauses             *pausesView               `json:"pauses"`
	IsRunning          *bool                     `json:"isRunning"`
	LastRunStartedAt   *time.Time                `json:"lastRunStartedAt"`
	LastRunCompletedAt *time.Time                `json:"lastRunCompletedAt"`
	LastSuccessAt      *time.Time                `json:"lastSuccessAt"`
	LastDurationMs     *int64                    `json:"lastDurationMs"`
	Totals             *reconcileTotals          `json:"totals"`
	LastResult         *contract.ReconcileReport `json:"lastResult"`
	LastError          *reconcileFailure         `json:"lastError"`
}

type reconcileTotals struct {
	Runs      int64 `json:"runs"`
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
}

type reconcileFailure struct {
	Timestamp time.Time `json:"timestamp"`
	Message   string    `json:"message"`
}

const messageWithheld = "the run failed; with the token this says why"

// viewReconciliation leaves out, unless trusted, ids and whatever text may hold some.
func (s *Server) viewReconciliation(st state, trusted bool) reconciliationView {
	v := reconciliationView{
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
	v.LastSuccessAt, v.Totals = rec.LastSuccessAt, &reconcileTotals{rec.Runs, rec.Successes, rec.Failures}
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
		v.LastError = &reconcileFailure{failed.CompletedAt, failed.Error}
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

// manualReconcileView is the contract's "manualReconcile".
type manualReconcileView struct {
	Enabled       bool  `json:"enabled"`
	MinIntervalMs int64 `json:"minIntervalMs"`
	// LastSuccessAt is that of the newest manual run.
	LastSuccessAt *time.Time `json:"lastSuccessAt"`
	// RetryAfterMs is how long a request would still be refused.
	RetryAfterMs int64 `json:"retryAfterMs"`
}

func (s *Server) viewManualReconcile(st state, now time.Time) manualReconcileView {
	v := manualReconcileView{
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

// manualWait is how long a manual run is still refused, at least 0. Only manual runs count, or the scheduled ones would keep
// operators from what they are meant to be able to do.
func (s *Server) manualWait(rec *storemanager.Reconciliation, now time.Time) time.Duration {
	last := lastManualSuccess(rec)
	if last == nil {
		return 0
	}
	return max(0, last.Add(time.Duration(s.config.ManualReconcileLimit)).Sub(now))
}
