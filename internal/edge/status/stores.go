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

	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

const defaultPage = 100

func viewStore(st storemanager.Store) api.Store {
	v := api.Store{
		ID: st.ID, UserID: st.UserID, Status: st.Connection, StatusHistory: []api.StatusChange{}, Orchestrator: viewKnown(st),
		Deletion: st.Deletion, Hold: st.Hold, Pause: st.Pause, Pinned: st.Pinned, UnlistedSince: st.UnlistedSince, ListedSince: st.ListedSince,
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

// storesQuery is what GET /stores is asked for.
type storesQuery struct {
	storemanager.ListRequest
	want wanted
	// named: the answer has what the Auth Worker says of the workspaces.
	named bool
}

// query reads the parameters of GET /stores. It has answered when it returns false.
func query(w http.ResponseWriter, r *http.Request) (storesQuery, bool) {
	values := r.URL.Query()
	q := storesQuery{
		ListRequest: storemanager.ListRequest{Cursor: values.Get("cursor"), Limit: defaultPage},
		want:        wanted{owner: values.Get("owner"), name: values.Get("name")},
	}
	if len(q.want.owner) > storemanager.MaxText {
		problem.Write(w, problem.KindInvalid, "owner must have at most "+strconv.Itoa(storemanager.MaxText)+" bytes")
		return q, false
	}
	if limit := values.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > storemanager.MaxBatch {
			problem.Write(w, problem.KindInvalid, "limit must be a whole number from 1 to "+strconv.Itoa(storemanager.MaxBatch))
			return q, false
		}
		q.Limit = n
	}
	if states := values.Get("state"); states != "" {
		q.States = strings.Split(states, ",")
		all := storemanager.ListStates()
		if slices.ContainsFunc(q.States, func(state string) bool { return !slices.Contains(all, state) }) {
			problem.Write(w, problem.KindInvalid, "state must be one or several, separated by commas, of: "+strings.Join(all, ", "))
			return q, false
		}
	}
	switch named := values.Get("workspaces"); named {
	case "", "false":
		q.named = !q.want.all()
	case "true":
		q.named = true
	default:
		problem.Write(w, problem.KindInvalid, "workspaces must be true or false")
		return q, false
	}
	return q, true
}

// Stores answers GET /stores.
func (s *Status) Stores(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r)
	if !ok {
		return
	}
	var list *authclient.Directory
	var note string
	if q.named {
		list, note = s.directory.get(r.Context())
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	var page storemanager.Page
	var err error
	switch {
	case q.want.all():
		page, err = s.manager.List(ctx, q.ListRequest)
	case list == nil:
		problem.WriteUnavailable(w, "Stores can't be found by owner or name: "+note)
		return
	case q.want.owner != "":
		q.want.owners = owners(list, q.want.owner)
		page, err = s.findOwned(ctx, list, q.ListRequest, q.want)
	default:
		page, err = s.find(ctx, list, q.ListRequest, q.want)
	}
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
		Stores: make([]api.Store, len(page.Stores)), Count: len(page.Stores), Total: q.total(st.overview), NextCursor: page.NextCursor,
		Orchestrator:   viewTotals(st.overview, &page),
		Reconciliation: s.viewReconciliation(st, true), ManualReconcile: s.viewManualReconcile(st, time.Now()),
	}
	for i, store := range page.Stores {
		answer.Stores[i] = viewStore(store)
		if list != nil {
			answer.Stores[i].Workspace = viewWorkspace(list, store.ID)
		}
	}
	if q.named {
		answer.Workspaces = &api.WorkspaceList{Note: note}
		if list != nil {
			answer.Workspaces.ListAt = new(list.FetchStartedAt.UTC())
		}
	}
	if page.NextCursor != "" {
		next := r.URL.Query()
		next.Set("cursor", page.NextCursor)
		answer.Next = "/stores?" + next.Encode()
		w.Header().Set("Link", "<"+answer.Next+`>; rel="next"`)
	}
	httpserver.WriteJSON(w, http.StatusOK, answer)
}

// total is how many stores all pages together have; nil when that is not known without looking at each.
func (q storesQuery) total(o *storemanager.Overview) *int {
	if o == nil || len(q.States) > 1 || slices.Contains(q.States, storemanager.StorePaused) || !q.want.all() {
		return nil
	}
	if len(q.States) == 0 {
		return &o.Monitored
	}
	n := o.Connections[storemanager.ConnectionState(q.States[0])]
	switch q.States[0] {
	case storemanager.StoreDeletionPending:
		n = o.DeletionPending
	case storemanager.StoreHeld:
		n = o.Held
	case storemanager.StorePinned:
		n = o.Pinned
	}
	return &n
}

// Store answers GET /stores/{id}.
func (s *Status) Store(w http.ResponseWriter, r *http.Request) {
	id, ok := problem.StoreID(w, r)
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
