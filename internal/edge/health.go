package edge

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// health answers 503 when the system can't keep its promise, and says why. Ids, and texts that may name some, are only for
// those who bring the token.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	trusted := s.authorized(r)
	if trusted {
		httpserver.Trust(ctx)
	}
	var c api.Checks
	var wg sync.WaitGroup
	wg.Go(func() { s.checkWay(ctx, &c) })
	var page *storemanager.Page
	age := checkAge
	if trusted {
		age = 0
		wg.Go(func() { page = s.firstStores(ctx) })
	}
	st := s.checks.state.get(ctx, age)
	wg.Wait()

	now := time.Now()
	lists := s.checkLists(st, now)
	if !trusted {
		lists.Detail = ""
	}
	c.AuthWorker = lists.ListCheck
	c.Registry = checkRegistry(st)
	c.Connections = checkConnections(st)
	c.Reconciliation = s.checkReconciliation(st, now)
	answer := api.Health{
		Status: "healthy", Reasons: reasons(c, lists.tolerable),
		Warnings: append(s.doorWarnings(), slices.Concat(s.databases().warnings(now, trusted), lists.warnings(), s.slowRunWarning(st, now),
			warnings(st, trusted))...),
		Timestamp: now.UTC(), UptimeSeconds: int64(now.Sub(s.started).Seconds()), Version: telemetry.Version,
		Checks: c, Orchestrator: viewOrchestrator(st.overview, page),
		Reconciliation: s.viewReconciliation(st, trusted), ManualReconcile: s.viewManualReconcile(st, now),
	}
	status := http.StatusOK
	if len(answer.Reasons) > 0 {
		answer.Status, status = "unhealthy", http.StatusServiceUnavailable
	}
	httpserver.WriteJSON(w, status, answer)
}

// reasons are what has failed. Lists that are tolerable are none.
func reasons(c api.Checks, tolerableLists bool) []string {
	lists := c.AuthWorker.Error
	if tolerableLists {
		lists = ""
	}
	reasons := []string{}
	for _, part := range []struct {
		name, problem string
	}{
		{"temporal", c.Temporal.Error},
		{"workers", c.Workers.Error},
		{"backlog", c.Backlog.Error},
		{"storeManager", c.StoreManager.Error},
		{"authWorker", lists},
		{"registry", c.Registry.Error},
		{"connections", c.Connections.Error},
		{"reconciliation", c.Reconciliation.Error},
	} {
		if part.problem != "" {
			reasons = append(reasons, part.name+": "+part.problem)
		}
	}
	return reasons
}

// checkConnections wants at least one store to have a subscription if there are any to subscribe and one has failed: that none
// has speaks of the sync backend and not of a store. Fewer are a warning.
func checkConnections(st state) api.DerivedCheck {
	if st.overview == nil {
		return api.DerivedCheck{Error: "unknown, the store manager can't be asked"}
	}
	c := st.overview.Connections
	subscribed := int64(c[storemanager.ConnectionConnected])
	if st.overview.Monitors != nil {
		subscribed = st.overview.Monitors.Subscribed // a stuck store may have one
	}
	failed := c[storemanager.ConnectionDisconnected] + c[storemanager.ConnectionError] + c[storemanager.ConnectionStuck]
	if failed > 0 && subscribed == 0 {
		return api.DerivedCheck{Error: "no store is connected to its sync backend"}
	}
	return api.DerivedCheck{OK: true}
}

// runSilence is how long a run may show no progress: more than the minute after which Temporal takes a silent step to be lost, and
// the time until its next attempt.
const runSilence = 2 * time.Minute

// checkReconciliation wants a success within two intervals. A run that began within them and goes on is given the time it takes, however
// short the interval. A schedule that an operator has paused for longer fails it too.
func (s *Server) checkReconciliation(st state, now time.Time) api.DerivedCheck {
	if !s.config.ReconcileEnabled {
		return api.DerivedCheck{OK: true}
	}
	if st.reconciliation == nil {
		return api.DerivedCheck{Error: "unknown, the store manager can't be asked"}
	}
	limit, since, why := 2*s.interval(st), s.successDueSince(st), ""
	switch run := st.run; {
	case now.Sub(since) <= limit:
		return api.DerivedCheck{OK: true}
	case run == nil || run.StartedAt.IsZero() || run.StartedAt.Sub(since) > limit:
	case now.Sub(run.LastSign) <= runSilence:
		return api.DerivedCheck{OK: true}
	default:
		why = ", the one under way shows no progress since " + run.LastSign.UTC().Format(time.RFC3339)
	}
	if st.schedule != nil && st.schedule.Paused {
		why += ", the schedule is paused"
	}
	return api.DerivedCheck{Error: "no successful run for two intervals" + why}
}

// interval is the longer one while the schedule, which a worker keeps, has not yet that of the edge's settings.
func (s *Server) interval(st state) time.Duration {
	every := time.Duration(s.config.ReconcileInterval)
	if st.schedule != nil {
		every = max(every, st.schedule.Every)
	}
	return every
}

// successDueSince is the last success, or the start of this edge or the end of a pause if that came later: nobody could know better
// before, unless runs had failed by then.
func (s *Server) successDueSince(st state) time.Time {
	rec, since, pauseEnded := st.reconciliation, time.Time{}, s.pausedLast.time()
	if rec.LastSuccessAt != nil {
		since = *rec.LastSuccessAt
	}
	if st.schedule != nil && st.schedule.Paused {
		pauseEnded = time.Time{} // not yet
	}
	for _, anew := range []time.Time{s.started, pauseEnded} {
		before := slices.IndexFunc(rec.Recent, func(run storemanager.ReconcileRun) bool { return run.CompletedAt.Before(anew) })
		if failing := before >= 0 && rec.Recent[before].Error != ""; anew.After(since) && !failing {
			since = anew
		}
	}
	return since
}

// slowRunWarning says that runs take longer than their interval.
func (s *Server) slowRunWarning(st state, now time.Time) []string {
	if st.run == nil || st.run.StartedAt.IsZero() || now.Sub(st.run.StartedAt) <= s.interval(st) {
		return nil
	}
	return []string{"reconciliation: the run under way takes longer than the interval, since " + st.run.StartedAt.UTC().Format(time.RFC3339)}
}

// warnings name stores and people only to the trusted.
func warnings(st state, trusted bool) []string {
	found := []string{}
	if st.overview != nil {
		found = append(found, storeWarnings(*st.overview, st.attended)...)
	}
	if paused := st.paused(); paused != nil && *paused {
		found = append(found, "reconciliation: the schedule is paused")
	}
	if st.pauses != nil {
		found = append(found, pauseWarnings(*st.pauses, trusted)...)
	}
	if st.overview != nil && st.overview.Guard != nil && st.overview.Loss() == nil { // a loss is no warning
		held := st.overview.Guard
		found = append(found, "reconciliation: the guard holds back removals since "+held.Since.Format(time.RFC3339)+", "+held.Reason)
	}
	if last := lastResult(st.reconciliation); last != nil && last.Guard != "" && last.GuardVerdict == "" { // one that no approval releases
		found = append(found, "reconciliation: the guard holds back removals, "+last.Guard)
	}
	if last := lastResult(st.reconciliation); last != nil {
		found = append(found, failureWarnings(*last, trusted)...)
	}
	return found
}

// shownFailing is how many failing stores a warning names; lastResult names more.
const shownFailing = 5

// storeWarnings say what the stores are short of; attended as in state.
func storeWarnings(o storemanager.Overview, attended *int) []string {
	var found []string
	for _, c := range []storemanager.ConnectionState{
		storemanager.ConnectionDisconnected, storemanager.ConnectionError, storemanager.ConnectionStuck,
	} {
		if n := o.Connections[c]; n > 0 {
			found = append(found, fmt.Sprintf("connections: %d of %d monitored stores: %s", n, o.Monitored, c))
		}
	}
	if o.DeletionOverdue > 0 {
		found = append(found, fmt.Sprintf("deletions: %d are overdue for more than five minutes: the Auth Worker or the store manager does not answer, or the lists take longer than %s",
			o.DeletionOverdue, authclient.RecheckTimeout))
	}
	if attended != nil && o.DeletionPendingLong > *attended {
		found = append(found, fmt.Sprintf("deletions: %d of %d that are pending have no lifecycle that waits for them (Temporal's database may have been lost): "+
			"the next reconcile run or start of a worker has them go on at their own time", o.DeletionPendingLong-*attended, o.DeletionPending))
	}
	return found
}

// failureWarnings say what the run could not repair, or has left alone.
func failureWarnings(last contract.ReconcileReport, trusted bool) []string {
	var found []string
	if last.SetAsideCount > 0 {
		warning := fmt.Sprintf("reconciliation: %d listed ids differ from a monitored store's in case alone, and are left alone", last.SetAsideCount)
		if trusted {
			warning += ", among them " + strings.Join(last.SetAside[:min(len(last.SetAside), shownFailing)], ", ")
		}
		found = append(found, warning)
	}
	if last.Stale > 0 {
		found = append(found, fmt.Sprintf("reconciliation: %d listed stores were not added, for newer deletions are known", last.Stale))
	}
	if last.FailedAdds > 0 {
		warning := fmt.Sprintf("reconciliation: %d stores could not be added", last.FailedAdds)
		if trusted && len(last.Failing) > 0 {
			var ids []string
			for _, f := range last.Failing[:min(len(last.Failing), shownFailing)] {
				ids = append(ids, f.StoreID)
			}
			warning += ", among them " + strings.Join(ids, ", ")
		}
		found = append(found, warning)
	}
	if last.FailedRemovals > 0 {
		found = append(found, fmt.Sprintf("reconciliation: %d stores could not be handed over for removal", last.FailedRemovals))
	}
	return found
}

// pauseWarnings say what reconciliation leaves alone, and until when.
func pauseWarnings(pauses []storemanager.Pause, trusted bool) []string {
	var found []string
	stores := 0
	for _, p := range pauses {
		what := "all stores are paused until "
		if p.StoreID != "" {
			stores++
			if !trusted || stores > shownPauses {
				continue
			}
			what = "store " + p.StoreID + " is paused until "
		}
		warning := "reconciliation: " + what + untilWhen(p.ExpiresAt, "resumed")
		if trusted {
			warning += ", by " + p.Actor + ": " + p.Reason
		}
		found = append(found, warning)
	}
	if stores > 0 && (!trusted || stores > shownPauses) {
		found = append(found, fmt.Sprintf("reconciliation: paused stores: %d", stores))
	}
	return found
}

// shownStores is how many stores /health names.
const shownStores = 1000

// firstStores is nil when the store manager can't be asked.
func (s *Server) firstStores(ctx context.Context) *storemanager.Page {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	page, err := s.stores.List(ctx, storemanager.ListRequest{Limit: shownStores})
	if err != nil {
		s.frequent.Warn("stores not listed", zap.Error(err))
		return nil
	}
	return &page
}

// checkWay checks what a webhook needs on its way.
func (s *Server) checkWay(ctx context.Context, c *api.Checks) {
	var wg sync.WaitGroup
	wg.Go(func() { c.Temporal = s.checks.temporal.get(ctx, checkAge) })
	wg.Go(func() { c.Workers = s.checks.workers.get(ctx, checkAge) })
	wg.Go(func() { c.StoreManager = s.checks.storeManager.get(ctx, checkAge) })
	wg.Wait()
	c.Backlog = s.checkBacklog()
	if c.Temporal.OK && s.refusing() {
		// It answers, but takes nothing: its disk may be full.
		c.Temporal.OK, c.Temporal.Error = false, "Temporal takes no events"
	}
}

// ready answers 200 when a webhook would be taken and worked off.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	var c api.Checks
	s.checkWay(r.Context(), &c)
	reasons := reasons(c, false)
	select {
	case <-s.draining:
		reasons = append(reasons, "shutting down")
	default:
	}
	if len(reasons) > 0 {
		httpserver.WriteJSON(w, http.StatusServiceUnavailable, api.Status{Status: "not ready", Reasons: reasons})
		return
	}
	httpserver.WriteJSON(w, http.StatusOK, api.Status{Status: "ready"})
}
