package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
)

const quota = 10

// A workspace is the rows of its members. The owner's row is the one that counts against a quota, and only the owner may delete the
// workspace.
const schema = `
CREATE TABLE IF NOT EXISTS users (
	id            TEXT PRIMARY KEY,
	email         TEXT NOT NULL UNIQUE,
	password_hash BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS tokens (
	hash    BLOB PRIMARY KEY,
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS members (
	instance_id TEXT NOT NULL,
	user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name        TEXT NOT NULL,
	created_at  TEXT NOT NULL,
	is_default  INTEGER NOT NULL DEFAULT 0,
	is_owner    INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (instance_id, user_id)
);
CREATE INDEX IF NOT EXISTS members_by_user ON members (user_id);`

type user struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

type instance struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	CreatedAt      string `json:"createdAt"`
	LastAccessedAt string `json:"lastAccessedAt"` // always createdAt in the demo
	IsDefault      bool   `json:"isDefault"`
}

// store keeps users and workspaces.
type store struct{ db *sql.DB }

func openStore(ctx context.Context, path string) (*store, error) {
	db, err := openDatabase(ctx, path, "foreign_keys(1)", schema)
	if err != nil {
		return nil, err
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

// tx runs f in a transaction and rolls back when f fails. f must use the ctx that it gets, and nothing but its transaction.
func (s *store) tx(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	// A request that is cancelled in the middle would cost the connection, and with it a database in memory.
	ctx = context.WithoutCancel(ctx)
	return inTransaction(ctx, s.db, func(tx *sql.Tx) error { return f(ctx, tx) })
}

// createUser adds a user with a default workspace.
func (s *store) createUser(ctx context.Context, email string, passwordHash []byte, now time.Time) (user, instance, error) {
	u := user{ID: uuid.NewString(), Email: email}
	first := newInstance(uuid.NewString(), "Default", now)
	first.IsDefault = true
	err := s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		taken, err := count(ctx, tx, `SELECT count(*) FROM users WHERE email = ?`, email)
		if err != nil {
			return err
		}
		if taken > 0 {
			return refuse(http.StatusBadRequest, "An account with this email already exists")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO users (id, email, password_hash) VALUES (?, ?, ?)`, u.ID, email, passwordHash)
		if err != nil {
			return err
		}
		return insertMember(ctx, tx, u.ID, first, true)
	})
	return u, first, err
}

// userByEmail returns the user and the hash of the password. Both are empty when there is no such user.
func (s *store) userByEmail(ctx context.Context, email string) (u user, passwordHash []byte, err error) {
	err = s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, `SELECT id, email, password_hash FROM users WHERE email = ?`, email)
		return ignoreNoRows(row.Scan(&u.ID, &u.Email, &passwordHash))
	})
	return u, passwordHash, err
}

// issueToken returns a new access token. Only its hash is kept.
func (s *store) issueToken(ctx context.Context, userID string) (string, error) {
	token := rand.Text()
	hash := sha256.Sum256([]byte(token))
	return token, s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO tokens (hash, user_id) VALUES (?, ?)`, hash[:], userID)
		return err
	})
}

// userByToken returns the id of the user who was given the token; empty when nobody was.
func (s *store) userByToken(ctx context.Context, token string) (id string, err error) {
	hash := sha256.Sum256([]byte(token))
	err = s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, `SELECT user_id FROM tokens WHERE hash = ?`, hash[:])
		return ignoreNoRows(row.Scan(&id))
	})
	return id, err
}

// instances returns the user's workspaces, shared ones included.
func (s *store) instances(ctx context.Context, userID string) ([]instance, error) {
	all := []instance{}
	err := s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT instance_id, name, created_at, is_default FROM members
			WHERE user_id = ? ORDER BY created_at, instance_id`, userID)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var i instance
			if err := rows.Scan(&i.ID, &i.Name, &i.CreatedAt, &i.IsDefault); err != nil {
				return err
			}
			i.LastAccessedAt = i.CreatedAt
			all = append(all, i)
		}
		return rows.Err()
	})
	return all, err
}

func (s *store) createInstance(ctx context.Context, userID, name string, now time.Time) (instance, error) {
	created := newInstance(uuid.NewString(), name, now)
	err := s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		taken, err := count(ctx, tx, `SELECT count(*) FROM members WHERE user_id = ? AND name = ?`, userID, name)
		if err != nil {
			return err
		}
		if taken > 0 {
			return refuse(http.StatusBadRequest, "A workspace with this name already exists")
		}
		owned, err := count(ctx, tx, `SELECT count(*) FROM members WHERE user_id = ? AND is_owner`, userID)
		if err != nil {
			return err
		}
		if owned >= quota {
			return refuse(http.StatusBadRequest, "Workspace limit reached")
		}
		return insertMember(ctx, tx, userID, created, true)
	})
	return created, err
}

// deleteInstance deletes a workspace of its owner, for all other members too.
func (s *store) deleteInstance(ctx context.Context, userID, id string) error {
	return s.tx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		members, err := count(ctx, tx, `SELECT count(*) FROM members WHERE instance_id = ?`, id)
		if err != nil {
			return err
		}
		if members == 0 {
			return refuse(http.StatusNotFound, "Workspace not found")
		}
		var isDefault bool
		err = tx.QueryRowContext(ctx, `SELECT is_default FROM members WHERE instance_id = ? AND user_id = ? AND is_owner`,
			id, userID).Scan(&isDefault)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return refuse(http.StatusForbidden, "Only the owner can delete a workspace")
		case err != nil:
			return err
		case isDefault:
			return refuse(http.StatusBadRequest, "The default workspace can't be deleted")
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM members WHERE instance_id = ?`, id)
		return err
	})
}

func newInstance(id, name string, now time.Time) instance {
	at := timestamp(now)
	return instance{ID: id, Name: name, CreatedAt: at, LastAccessedAt: at}
}

func insertMember(ctx context.Context, tx *sql.Tx, userID string, i instance, owner bool) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO members (instance_id, user_id, name, created_at, is_default, is_owner)
		VALUES (?, ?, ?, ?, ?, ?)`, i.ID, userID, i.Name, i.CreatedAt, i.IsDefault, owner)
	return err
}

func count(ctx context.Context, tx *sql.Tx, query string, args ...any) (n int, err error) {
	err = tx.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// timestamp writes a time as JavaScript does: in UTC, with milliseconds and Z.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
