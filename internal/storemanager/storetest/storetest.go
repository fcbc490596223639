// Package storetest has what tests of and around the store manager share: a registry with a memory of webhooks in a database of their own, a clock that
// stands still, requests whose errors fail the test, and watchers.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/deliveries"
	deliverysqlite "storekeeper/internal/deliveries/sqlite"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
)

// Settings of what a test opens. The zero value is empty and in memory.
type Settings struct {
	// Path of the database; "" is in memory.
	Path string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// TombstoneRetention, AuditRetention and MaxDeliveries are as in the options of the registry and of the memory.
	TombstoneRetention time.Duration
	AuditRetention     time.Duration
	MaxDeliveries      int
	// Logger nil: silent.
	Logger *zap.Logger
}

// Database is a registry, whose stores nobody monitors, and a memory of webhooks in one database.
type Database struct {
	*registry.Registry
	deliveries.Memory
	// Driver is what the registry is on.
	Driver registry.Driver
	// Write and Read are the handles of the database, which is SQLite. In a suite for any driver they are nil.
	Write, Read *sql.DB
}

// TryOpen opens the SQLite database at Settings.Path, and what is in it. Close ends both.
func TryOpen(ctx context.Context, o Settings) (*Database, error) {
	db, err := sqlite.Open(ctx, o.Path, o.Logger)
	if err != nil {
		return nil, err
	}
	r, err := registry.New(ctx, db, registry.Options{
		Now: o.Now, TombstoneRetention: o.TombstoneRetention, AuditRetention: o.AuditRetention, Path: db.Path(), Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	memory, err := deliverysqlite.New(ctx, db, deliverysqlite.Options{Now: o.Now, MaxDeliveries: o.MaxDeliveries})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s := &Database{Registry: r, Memory: memory, Driver: db}
	s.Write, s.Read = db.Databases()
	return s, nil
}

// Open is TryOpen. It is closed at the end of the test, if the test has not done it.
func Open(t testing.TB, o Settings) *Database {
	t.Helper()
	s, err := TryOpen(t.Context(), o)
	// A test beside this one may be starting a program at this moment: until it runs, that program has our files open, and their locks.
	for begun := time.Now(); err != nil && strings.Contains(err.Error(), "another process has it open") && time.Since(begun) < 10*time.Second; {
		<-time.After(10 * time.Millisecond)
		s, err = TryOpen(t.Context(), o)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Exec changes the database behind the registry's back.
func (s *Database) Exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	_, err := s.Write.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// Query reads one row of the database.
func (s *Database) Query(t testing.TB, query string, args ...any) *sql.Row {
	t.Helper()
	return s.Read.QueryRowContext(t.Context(), query, args...)
}

// Lose makes the registry one that has lost something, so that nothing is stopped before that is acknowledged.
func (s *Database) Lose(t testing.TB, found string, at time.Time) {
	t.Helper()
	require.NoError(t, s.Driver.Change(t.Context(), func(tx registry.Tx) error { return tx.NoteLoss(t.Context(), found, at) }))
}
