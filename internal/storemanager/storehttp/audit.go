package storehttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

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
		q, err := ParseAuditQuery(query)
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
	u.RawQuery = AuditValues(q).Encode()
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

// The names of the query of the audit trail, here and at the edge.
const (
	queryStore   = "store"
	queryKind    = "kind"
	querySource  = "source"
	queryActor   = "actor"
	queryRun     = "run"
	queryBatch   = "batch"
	queryOutcome = "outcome"
	querySince   = "since"
	queryUntil   = "until"
	queryOrder   = "order" // oldest or newest
	queryCursor  = "cursor"
	queryLimit   = "limit"

	orderOldest = "oldest"
)

// AuditValues is the query as that of a URL.
func AuditValues(q storemanager.AuditQuery) url.Values {
	values := url.Values{}
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	moment := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	set(queryStore, q.StoreID)
	set(queryKind, strings.ReplaceAll(storemanager.Join(q.Kinds), " ", ""))
	set(querySource, string(q.Source))
	set(queryActor, q.Actor)
	set(queryRun, q.RunID)
	set(queryBatch, q.Batch)
	set(queryOutcome, q.Outcome)
	set(querySince, moment(q.Since))
	set(queryUntil, moment(q.Until))
	set(queryCursor, number(q.Cursor))
	set(queryLimit, number(int64(q.Limit)))
	if q.OldestFirst {
		set(queryOrder, orderOldest)
	}
	return values
}

// ParseAuditQuery reads what AuditValues has written, and fails with ErrInvalid on what can't be a query. Several kinds are separated by commas.
func ParseAuditQuery(values url.Values) (q storemanager.AuditQuery, err error) {
	q = storemanager.AuditQuery{
		StoreID: values.Get(queryStore), Source: storemanager.Source(values.Get(querySource)), Actor: values.Get(queryActor),
		RunID: values.Get(queryRun), Batch: values.Get(queryBatch), Outcome: values.Get(queryOutcome), OldestFirst: values.Get(queryOrder) == orderOldest,
	}
	for _, kinds := range values[queryKind] {
		for kind := range strings.SplitSeq(kinds, ",") {
			q.Kinds = append(q.Kinds, storemanager.AuditKind(strings.TrimSpace(kind)))
		}
	}
	if order := values.Get(queryOrder); order != "" && order != orderOldest && order != "newest" {
		return q, fmt.Errorf("%w: order %.20q is neither newest nor oldest", storemanager.ErrInvalid, order)
	}
	for name, moment := range map[string]*time.Time{querySince: &q.Since, queryUntil: &q.Until} {
		if text := values.Get(name); text != "" {
			if *moment, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fmt.Errorf("%w: %s %.40q is no RFC 3339 time", storemanager.ErrInvalid, name, text)
			}
		}
	}
	if text := values.Get(queryCursor); text != "" {
		if q.Cursor, err = strconv.ParseInt(text, 10, 64); err != nil {
			return q, fmt.Errorf("%w: %.40q is no cursor", storemanager.ErrInvalid, text)
		}
	}
	if text := values.Get(queryLimit); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil {
			return q, fmt.Errorf("%w: limit %.20q is no number", storemanager.ErrInvalid, text)
		}
	}
	return q, q.Validate()
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
