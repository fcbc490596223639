package edge

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// storeTimeout bounds what one request may ask the store manager for.
const storeTimeout = 10 * time.Second

const defaultPage = 100

type storesAnswer struct {
	Stores []storeView `json:"stores"`
	// NextCursor is "" on the last page.
	NextCursor string `json:"nextCursor,omitempty"`
	// Orchestrator names the stores of this page.
	Orchestrator    *orchestratorView   `json:"orchestrator"`
	Reconciliation  reconciliationView  `json:"reconciliation"`
	ManualReconcile manualReconcileView `json:"manualReconcile"`
}

// storeView is a store as the contract shows it, and more of its monitor.
type storeView struct {
	ID     string                       `json:"id"`
	Status storemanager.ConnectionState `json:"status"`
	// SyncURL is where the store's events are to be had, without what may be secret.
	SyncURL string `json:"syncUrl,omitempty"`
	// StatusSince and StatusReason explain Status; the reason is the newest one.
	StatusSince  *time.Time `json:"statusSince,omitempty"`
	StatusReason string     `json:"statusReason,omitempty"`
	// Head and Processed are the sequence numbers of the newest event received, and of the newest one processed.
	Head               int64                  `json:"head"`
	Processed          int64                  `json:"processed"`
	ConnectedAt        *time.Time             `json:"connectedAt"`
	LastConnectedAt    *time.Time             `json:"lastConnectedAt"`
	LastDisconnectedAt *time.Time             `json:"lastDisconnectedAt"`
	StatusHistory      []statusChange         `json:"statusHistory"`
	LastActivity       *time.Time             `json:"lastActivity"`
	ErrorCount         int64                  `json:"errorCount"`
	LastError          string                 `json:"lastError,omitempty"`
	ReconnectAttempts  int64                  `json:"reconnectAttempts"`
	NextAttemptAt      *time.Time             `json:"nextAttemptAt,omitempty"`
	ResetCount         int64                  `json:"resetCount"`
	OfflineMs          int64                  `json:"offlineMs"`
	NetworkStatus      networkStatus          `json:"networkStatus"`
	Orchestrator       orchestratedStore      `json:"orchestrator"`
	Deletion           *storemanager.Deletion `json:"deletion,omitempty"`
	Hold               *storemanager.Hold     `json:"hold,omitempty"`
	Pinned             bool                   `json:"pinned"`
	MissingSince       *time.Time             `json:"missingSince,omitempty"`
	ListedSince        *time.Time             `json:"listedSince,omitempty"`
}

type statusChange struct {
	Status    storemanager.ConnectionState `json:"status"`
	Timestamp time.Time                    `json:"timestamp"`
	Reason    string                       `json:"reason,omitempty"`
}

type networkStatus struct {
	IsConnected bool `json:"isConnected"`
}

func viewStore(st storemanager.Store) storeView {
	v := storeView{
		ID: st.ID, Status: st.Connection, StatusHistory: []statusChange{}, Orchestrator: viewOrchestrated(st),
		Deletion: st.Deletion, Hold: st.Hold, Pinned: st.Pinned, MissingSince: st.MissingSince, ListedSince: st.ListedSince,
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
		v.StatusHistory = append(v.StatusHistory, statusChange{c.Connection, c.At, c.Reason})
	}
	return v
}

func (s *Server) listStores(w http.ResponseWriter, r *http.Request) {
	q := storemanager.ListRequest{Cursor: r.URL.Query().Get("cursor"), Limit: defaultPage}
	if limit := r.URL.Query().Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > storemanager.MaxBatch {
			writeProblem(w, kindInvalid, "limit must be a whole number from 1 to "+strconv.Itoa(storemanager.MaxBatch))
			return
		}
		q.Limit = n
	}
	if states := r.URL.Query().Get("state"); states != "" {
		q.States = strings.Split(states, ",")
		known := storemanager.ListStates()
		if slices.ContainsFunc(q.States, func(state string) bool { return !slices.Contains(known, state) }) {
			writeProblem(w, kindInvalid, "state must be one or several, separated by commas, of: "+strings.Join(known, ", "))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	page, err := s.stores.List(ctx, q)
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		writeProblem(w, kindInvalid, "cursor must be the nextCursor of the page before")
		return
	case err != nil:
		s.failStores(w, err)
		return
	}
	st := s.checks.state.get(ctx, 0)
	answer := storesAnswer{
		Stores: make([]storeView, len(page.Stores)), NextCursor: page.NextCursor,
		Orchestrator:   viewOrchestrator(st.overview, &page),
		Reconciliation: s.viewReconciliation(st, true), ManualReconcile: s.viewManualReconcile(st, time.Now()),
	}
	for i, store := range page.Stores {
		answer.Stores[i] = viewStore(store)
	}
	writeJSON(w, http.StatusOK, answer)
}

type storeAnswer struct {
	storeView
	// State is "monitored" or "stopped"; EventAt is the moment of the newest knowledge about the workspace.
	State   storemanager.State `json:"state"`
	EventAt time.Time          `json:"eventAt"`
	// Lifecycle is null when nothing is under way, and when LifecycleError says that it could not be asked.
	Lifecycle      *contract.LifecycleStatus `json:"lifecycle"`
	LifecycleError string                    `json:"lifecycleError,omitempty"`
	Conditions     []condition               `json:"conditions"`
	// Events are the newest of what was asked about the store, newest first.
	Events []storemanager.StoreEvent `json:"events"`
}

func (s *Server) getStore(w http.ResponseWriter, r *http.Request) {
	id := httpserver.PathParam(r, "id")
	if !storemanager.ValidID(id) {
		writeProblem(w, kindInvalid, "this is not a valid store id: "+storeIDRule)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	store, err := s.stores.Get(ctx, id)
	switch {
	case errors.Is(err, storemanager.ErrNotFound):
		writeProblem(w, kindNotFound, "No such store is known")
		return
	case err != nil:
		s.failStores(w, err)
		return
	}
	overview, err := s.stores.Overview(ctx) // for the pause of all stores
	if err != nil {
		s.failStores(w, err)
		return
	}
	answer := storeAnswer{
		storeView: viewStore(store), State: store.State, EventAt: store.EventAt,
		Events: append([]storemanager.StoreEvent{}, store.Events...),
	}
	ask, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if answer.Lifecycle, err = s.orchestrator.LifecycleStatus(ask, id); err != nil {
		s.frequent.Warn("lifecycle not asked", requestID(w), zap.String(telemetry.KeyStoreID, id), zap.Error(err))
		answer.LifecycleError = "Temporal or its workers can't be reached"
	}
	around := surroundings{now: time.Now(), overview: overview, lifecycle: answer.Lifecycle}
	if d := store.Deletion; d != nil && !around.now.Before(d.DeleteAt) {
		around.authWorker = s.checkLists(s.checks.state.get(ctx, checkAge), around.now).Error
	}
	answer.Conditions = conditions(store, around)
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) failStores(w http.ResponseWriter, err error) {
	s.frequent.Error("store manager not asked", requestID(w), zap.Error(err))
	writeUnavailable(w, "The store manager can't be asked")
}
