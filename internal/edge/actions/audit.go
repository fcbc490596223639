package actions

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/storemanager"
)

// Audit serves GET /audit: a page of the audit trail.
func (a *Actions) Audit(w http.ResponseWriter, r *http.Request) { a.audit(w, r, "") }

// History serves GET /stores/{id}/history: a page of what the audit trail has about a store. A store that nobody ever told of has none.
func (a *Actions) History(w http.ResponseWriter, r *http.Request) {
	if id, ok := problem.StoreID(w, r); ok {
		a.audit(w, r, id)
	}
}

func (a *Actions) audit(w http.ResponseWriter, r *http.Request, id string) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		problem.Write(w, problem.KindInvalid, "the query can't be parsed")
		return
	}
	q, err := storemanager.ParseAuditQuery(values)
	if err != nil {
		problem.Write(w, problem.KindInvalid, strings.TrimPrefix(err.Error(), storemanager.ErrInvalid.Error()+": "))
		return
	}
	if id != "" {
		q.StoreID = id
	}
	ctx, cancel := context.WithTimeout(r.Context(), managerTimeout)
	defer cancel()
	page, err := a.manager.Audit(ctx, q)
	switch {
	case errors.Is(err, storemanager.ErrInvalid):
		problem.Write(w, problem.KindInvalid, "the store manager refused the query")
	case err != nil:
		a.managerAway(err).Write(w)
	default:
		httpserver.WriteJSON(w, http.StatusOK, page)
	}
}
