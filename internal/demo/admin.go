package demo

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"storekeeper/internal/httpserver"
)

// listing is an entry of the internal list: a workspace as one of its members sees it.
type listing struct {
	InstanceID     string `json:"instanceId,omitempty"` // empty only when a fault removes it
	UserID         string `json:"userId"`
	Name           string `json:"name"`
	CreatedAt      string `json:"createdAt"`
	LastAccessedAt string `json:"lastAccessedAt"`
	IsDefault      bool   `json:"isDefault"`
}

func (a *AuthWorker) withToken(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, known := a.tokens().Caller(bearer(r)); !known {
			return refuse(http.StatusForbidden, "Forbidden")
		}
		httpserver.Trust(r.Context())
		return h(w, r)
	}
}

func (a *AuthWorker) listAll(w http.ResponseWriter, r *http.Request) error {
	all, err := a.store.all(r.Context())
	if err != nil {
		return err
	}
	return a.faults.writeList(w, r, all)
}

func (a *AuthWorker) addInstance(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		InstanceID string `json:"instanceId"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if body.InstanceID == "" {
		return refuse(http.StatusBadRequest, "instanceId is required")
	}
	if err := a.store.addMember(r.Context(), chi.URLParam(r, "userId"), body.InstanceID, time.Now()); err != nil {
		return err
	}
	httpserver.WriteJSON(w, http.StatusCreated, map[string]bool{"success": true})
	return nil
}

func (a *AuthWorker) removeInstance(w http.ResponseWriter, r *http.Request) error {
	err := a.store.removeMember(r.Context(), chi.URLParam(r, "userId"), r.URL.Query().Get("instanceId"))
	if err != nil {
		return err
	}
	httpserver.WriteJSON(w, http.StatusOK, map[string]bool{"success": true})
	return nil
}

func (a *AuthWorker) deleteUser(w http.ResponseWriter, r *http.Request) error {
	if err := a.store.deleteUser(r.Context(), chi.URLParam(r, "userId")); err != nil {
		return err
	}
	httpserver.WriteJSON(w, http.StatusOK, map[string]bool{"success": true})
	return nil
}

// all returns every entry of the internal list, as of one moment. It reads them into memory, because a slow reader must not hold the
// connection, and the list of a demo is short.
func (s *store) all(ctx context.Context) ([]listing, error) {
	all := []listing{}
	err := s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT instance_id, user_id, name, created_at, is_default FROM members`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var l listing
			if err := rows.Scan(&l.InstanceID, &l.UserID, &l.Name, &l.CreatedAt, &l.IsDefault); err != nil {
				return err
			}
			l.LastAccessedAt = l.CreatedAt
			all = append(all, l)
		}
		return rows.Err()
	})
	return all, err
}

// addMember adds a store id to a user's workspaces. The first user of an id owns it.
func (s *store) addMember(ctx context.Context, userID, id string, now time.Time) error {
	return s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		users, err := count(ctx, tx, `SELECT count(*) FROM users WHERE id = ?`, userID)
		if err != nil {
			return err
		}
		if users == 0 {
			return refuse(http.StatusNotFound, "User not found")
		}
		added := newInstance(id, id, now)
		err = tx.QueryRowContext(ctx, `SELECT name, created_at FROM members WHERE instance_id = ? ORDER BY is_owner DESC LIMIT 1`, id).
			Scan(&added.Name, &added.CreatedAt)
		if ignoreNoRows(err) != nil {
			return err
		}
		isFirst := errors.Is(err, sql.ErrNoRows)
		has, err := count(ctx, tx, `SELECT count(*) FROM members WHERE instance_id = ? AND user_id = ?`, id, userID)
		if err != nil || has > 0 {
			return err
		}
		return insertMember(ctx, tx, userID, added, isFirst)
	})
}

// removeMember takes a store id, even a default workspace's, from one user.
func (s *store) removeMember(ctx context.Context, userID, id string) error {
	return s.deleteOne(ctx, "The user has no such instance", `DELETE FROM members WHERE user_id = ? AND instance_id = ?`, userID, id)
}

// deleteUser deletes a user. Workspaces that the user shares stay with their other members.
func (s *store) deleteUser(ctx context.Context, userID string) error {
	return s.deleteOne(ctx, "User not found", `DELETE FROM users WHERE id = ?`, userID)
}

func (s *store) deleteOne(ctx context.Context, whenMissing, query string, args ...any) error {
	return s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = refuse(http.StatusNotFound, whenMissing)
		}
		return err
	})
}
