package status

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/build"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

// Health answers 503 when the system can't keep its promise, and says why. Ids, and texts that may name some, are only for
// those who bring the token.
func (s *Status) Health(w http.ResponseWriter, r *http.Request) {
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
		Warnings: append(s.edgeWarnings(), slices.Concat(s.databases().warnings(now, trusted), lists.warnings(), s.slowRunWarning(st, now),
			warnings(st, trusted))...),
		Timestamp: now.UTC(), UptimeSeconds: int64(now.Sub(s.started).Seconds()), Version: build.Version,
		Checks: c, Orchestrator: viewTotals(st.overview, page),
		Reconciliation: s.viewReconciliation(st, trusted), ManualReconcile: s.viewManualReconcile(st, now),
	}
	if trusted {
		answer.Installation = s.viewInstallation(st)
	}
	status := http.StatusOK
	if len(answer.Reasons) > 0 {
		answer.Status, status = "unhealthy", http.StatusServiceUnavailable
	}
	httpserver.WriteJSON(w, status, answer)
}

// reasons say what has failed. The Auth Worker's lists are not among them while their failure is tolerable.
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

// shownStores is how many stores /health names.
const shownStores = 1000

// firstStores is nil when the store manager can't be asked.
func (s *Status) firstStores(ctx context.Context) *storemanager.Page {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	page, err := s.manager.List(ctx, storemanager.ListRequest{Limit: shownStores})
	if err != nil {
		s.frequent.Warn("stores not listed", zap.Error(err))
		return nil
	}
	return &page
}

// checkWay checks what a webhook needs on its way.
func (s *Status) checkWay(ctx context.Context, c *api.Checks) {
	var wg sync.WaitGroup
	wg.Go(func() { c.Temporal = s.checks.temporal.get(ctx, checkAge) })
	wg.Go(func() { c.Workers = s.checks.workers.get(ctx, checkAge) })
	wg.Go(func() { c.StoreManager = s.checks.storeManager.get(ctx, checkAge) })
	wg.Wait()
	c.Backlog = checkBacklog(s.intake)
	if c.Temporal.OK && s.intake.Refusing() {
		// It answers, and takes nothing: its disk may be full.
		c.Temporal.OK, c.Temporal.Error = false, "Temporal takes no events"
	}
}

// Ready answers 200 when a webhook would be taken and worked off.
func (s *Status) Ready(w http.ResponseWriter, r *http.Request) {
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
