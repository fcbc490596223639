package status

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

const defaultPage = 100

func viewStore(st storemanager.Store) api.Store {
	v := api.Store{
		ID: st.ID, Status: st.Connection, StatusHistory: []api.StatusChange{}, Orchestrator: viewKnown(st),
		Deletion: st.Deletion, Hold: st.Hold, Pinned: st.Pinned, UnlistedSince: st.UnlistedSince, ListedSince: st.ListedSince,
	}
	m := st.Monitor
	if m == nil {
		return v
	}
	v.SyncURL, v.StatusReason = m.SyncURL, m.Reason
	v.StatusSince, v.Head, v.Processed = &m.Since, m.Head, m.Processed
	v.ConnectedAt, v.LastConnectedAt, v.LastDisconnectedAt = m.ConnectedAt, m.LastConnectedAt, m.LastDisconnectedAt
	v.LastActivity, v.NextAttemptAt, v.OfflineMs = m.LastActivityAt, m.NextAttemptAt, m.OfflineMs
	v.ErrorCount, v.LastError, v.ReconnectAttempts, v.ResetCount = m.Errors, m.LastError, m.ReconnectAttempts, m.Resets
	v.NetworkStatus.IsConnected = m.ConnectedAt != nil
	for _, c := range m.History {
		v.StatusHistory = append(v.StatusHistory, api.StatusChange{Status: c.Connection, Timestamp: c.At, Reason: c.Reason})
	}
	return v
}

// Stores answers GET /stores.
func (s *Status) Stores(w http.ResponseWriter, r *http.Request) {
	q := storemanager.ListRequest{Cursor: r.URL.Query().Get("cursor"), Limit: defaultPage}
	if limit := r.URL.Query().Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > storemanager.MaxBatch {
			problem.Write(w, problem.KindInvalid, "limit must be a whole number from 1 to "+strconv.Itoa(storemanager.MaxBatch))
			return
		}
		q.Limit = n
	}
	if states := r.URL.Query().Get("state"); states != "" {
		q.States = strings.Split(states, ",")
		all := storemanager.ListStates()
		if slices.ContainsFunc(q.States, func(state string) bool { return !slices.Contains(all, state) }) {
			problem.Write(w, problem.KindInvalid, "state must be one or several, separated by commas, of: "+strings.Join(all, ", "))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	page, err := s.manager.List(ctx, q)
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		problem.Write(w, problem.KindInvalid, "cursor must be the nextCursor of the page before")
		return
	case err != nil:
		s.managerAway(w, err)
		return
	}
	st := s.checks.state.get(ctx, 0)
	answer := api.StoresPage{
		Stores: make([]api.Store, len(page.Stores)), NextCursor: page.NextCursor,
		Orchestrator:   viewTotals(st.overview, &page),
		Reconciliation: s.viewReconciliation(st, true), ManualReconcile: s.viewManualReconcile(st, time.Now()),
	}
	for i, store := range page.Stores {
		answer.Stores[i] = viewStore(store)
	}
	httpserver.WriteJSON(w, http.StatusOK, answer)
}

// Store answers GET /stores/{id}.
func (s *Status) Store(w http.ResponseWriter, r *http.Request) {
	id, ok := storeID(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	store, err := s.manager.Get(ctx, id)
	switch {
	case errors.Is(err, storemanager.ErrNotFound):
		problem.Write(w, problem.KindNotFound, "No such store is known")
		return
	case err != nil:
		s.managerAway(w, err)
		return
	}
	overview, err := s.manager.Overview(ctx) // for the pause of all stores
	if err != nil {
		s.managerAway(w, err)
		return
	}
	answer := api.StoreDetails{
		Store: viewStore(store), State: store.State, EventAt: store.EventAt,
		History: append([]storemanager.AuditEntry{}, store.History...),
	}
	ask, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if answer.Lifecycle, err = s.orchestrator.LifecycleStatus(ask, id); err != nil {
		s.frequent.Warn("lifecycle not asked", httpserver.LogRequestID(w), zap.String(telemetry.KeyStoreID, id), zap.Error(err))
		answer.LifecycleError = "Temporal or its workers can't be reached"
	}
	around := surroundings{now: time.Now(), overview: overview, lifecycle: answer.Lifecycle}
	if d := store.Deletion; d != nil && !around.now.Before(d.DeleteAt) {
		around.authWorker = s.checkLists(s.checks.state.get(ctx, checkAge), around.now).Error
	}
	answer.Conditions = conditions(store, around)
	httpserver.WriteJSON(w, http.StatusOK, answer)
}
