package storemanager

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The names of AuditQuery in the query of a URL.
const (
	queryStore   = "store"
	queryKind    = "kind"
	querySource  = "source"
	queryActor   = "actor"
	queryRun     = "run"
	queryBatch   = "batch"
	queryOutcome = "outcome"
	queryUser    = "user"
	querySince   = "since"
	queryUntil   = "until"
	queryOrder   = "order" // oldest or newest
	queryCursor  = "cursor"
	queryLimit   = "limit"

	orderOldest = "oldest"
)

// Values is the query as that of a URL. The APIs of the store manager and of the edge take the same.
func (q AuditQuery) Values() url.Values {
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
	set(queryKind, strings.ReplaceAll(Join(q.Kinds), " ", ""))
	set(querySource, string(q.Source))
	set(queryActor, q.Actor)
	set(queryRun, q.RunID)
	set(queryBatch, q.Batch)
	set(queryOutcome, q.Outcome)
	set(queryUser, q.UserID)
	set(querySince, moment(q.Since))
	set(queryUntil, moment(q.Until))
	set(queryCursor, number(q.Cursor))
	set(queryLimit, number(int64(q.Limit)))
	if q.OldestFirst {
		set(queryOrder, orderOldest)
	}
	return values
}

// ParseAuditQuery reads what Values has written, and fails with ErrInvalid on what can't be a query. Several kinds are separated by commas.
func ParseAuditQuery(values url.Values) (q AuditQuery, err error) {
	q = AuditQuery{
		StoreID: values.Get(queryStore), Source: Source(values.Get(querySource)), Actor: values.Get(queryActor),
		RunID: values.Get(queryRun), Batch: values.Get(queryBatch), Outcome: values.Get(queryOutcome), UserID: values.Get(queryUser),
		OldestFirst: values.Get(queryOrder) == orderOldest,
	}
	for _, kinds := range values[queryKind] {
		for kind := range strings.SplitSeq(kinds, ",") {
			q.Kinds = append(q.Kinds, AuditKind(strings.TrimSpace(kind)))
		}
	}
	if order := values.Get(queryOrder); order != "" && order != orderOldest && order != "newest" {
		return q, fmt.Errorf("%w: order %.20q is neither newest nor oldest", ErrInvalid, order)
	}
	for name, moment := range map[string]*time.Time{querySince: &q.Since, queryUntil: &q.Until} {
		if text := values.Get(name); text != "" {
			if *moment, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fmt.Errorf("%w: %s %.40q is no RFC 3339 time", ErrInvalid, name, text)
			}
		}
	}
	if text := values.Get(queryCursor); text != "" {
		if q.Cursor, err = strconv.ParseInt(text, 10, 64); err != nil {
			return q, fmt.Errorf("%w: %.40q is no cursor", ErrInvalid, text)
		}
	}
	if text := values.Get(queryLimit); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil {
			return q, fmt.Errorf("%w: limit %.20q is no number", ErrInvalid, text)
		}
	}
	return q, q.Validate()
}
