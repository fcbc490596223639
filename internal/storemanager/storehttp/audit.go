package storehttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"storekeeper/internal/storemanager"
)

// This file has both sides of the audit trail: the routes of the server, and the client's methods.

func (s *server) auditRoutes(r chi.Router) {
	r.Get("/audit", s.answer(func(r *http.Request) (any, error) {
		query, err := queryOf(r)
		if err != nil {
			return nil, err
		}
		q, err := storemanager.ParseAuditQuery(query)
		if err != nil {
			return nil, err
		}
		return s.manager.Audit(r.Context(), q)
	}))
	r.Post("/audit/batches", answerBody(s, func(r *http.Request, b storemanager.Batch) (any, error) {
		return nothing{}, s.manager.NoteBatch(r.Context(), b)
	}))
	r.Put("/audit/settings", answerBody(s, func(r *http.Request, q storemanager.Settings) (any, error) {
		return nothing{}, s.manager.NoteSettings(r.Context(), q)
	}))
}

// Audit implements Audit.
func (c *Client) Audit(ctx context.Context, q storemanager.AuditQuery) (storemanager.AuditPage, error) {
	u := c.base.JoinPath("v1", "audit")
	u.RawQuery = q.Values().Encode()
	return ask[storemanager.AuditPage](ctx, c, http.MethodGet, u, nil)
}

// NoteBatch implements Audit.
func (c *Client) NoteBatch(ctx context.Context, b storemanager.Batch) error {
	_, err := ask[nothing](ctx, c, http.MethodPost, c.base.JoinPath("v1", "audit", "batches"), b)
	return err
}

// NoteSettings implements Audit.
func (c *Client) NoteSettings(ctx context.Context, s storemanager.Settings) error {
	_, err := ask[nothing](ctx, c, http.MethodPut, c.base.JoinPath("v1", "audit", "settings"), s)
	return err
}

// queryOrigin is the name of an Origin, in JSON, in the query of a request without a body.
const queryOrigin = "origin"

func addOrigin(query url.Values, o storemanager.Origin) {
	if o == (storemanager.Origin{}) {
		return
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings can't fail
	}
	query.Set(queryOrigin, string(encoded))
}

// originOf is the Origin in the query of a request; the zero Origin if there is none.
func originOf(r *http.Request) (o storemanager.Origin, err error) {
	query, err := queryOf(r)
	if err != nil {
		return o, err
	}
	if text := query.Get(queryOrigin); text != "" {
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return o, fmt.Errorf("%w: origin: %w", storemanager.ErrInvalid, err)
		}
	}
	return o, nil
}
