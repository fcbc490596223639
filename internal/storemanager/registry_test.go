package storemanager

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestEverythingIsThereAfterClose(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(t, 1)
	b.begin(t, 2, "run")
	b.pin(t, "pinned")
	_, err := b.Hold(t.Context(), "pinned", Hold{Reason: "r", Actor: "a", ExpiresAt: new(at(50))})
	require.NoError(t, err)
	require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(3), Missing: []string{id}}))
	require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{RunID: "run", StartedAt: at(1), CompletedAt: at(2)}))
	page, err := b.List(t.Context(), ListRequest{})
	require.NoError(t, err)
	overview := b.overview(t)
	require.NoError(t, b.registry.Close())

	again := open(t, Options{Path: b.path, Now: b.clock.Now})
	gotPage, err := again.List(t.Context(), ListRequest{})
	require.NoError(t, err)
	require.Equal(t, page, gotPage)
	gotOverview, err := again.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, overview, gotOverview)
	reconciliation, err := again.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Len(t, reconciliation.Recent, 1)
}

func TestRegistriesInMemoryAreApart(t *testing.T) {
	t.Parallel()
	a, b := open(t, Options{}), open(t, Options{})
	require.NoError(t, a.SetPins(t.Context(), []string{id}))
	_, err := a.Get(t.Context(), id)
	require.NoError(t, err)
	_, err = b.Get(t.Context(), id)
	require.ErrorIs(t, err, ErrNotFound)

	// A call that is given up may cost the connection, but not the database in it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Ensure(ctx, EnsureRequest{StoreID: "another", At: t0})
	require.ErrorIs(t, err, context.Canceled)
	_, err = a.Get(t.Context(), id)
	require.NoError(t, err)
}

func TestFilesThatAreRefusedAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"garbage": {
			func(t *testing.T, path string) { write(t, path, strings.Repeat("garbage ", 4096)) },
			"it is damaged, or no registry",
		},
		"a few bytes of garbage": {
			func(t *testing.T, path string) { write(t, path, "garbage") },
			"it is damaged, or no registry",
		},
		"a registry cut in the middle": {
			func(t *testing.T, path string) {
				makeRegistry(t, path)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				write(t, path, string(content[:len(content)/2]))
			},
			"it is damaged, or no registry",
		},
		"a registry with a damaged page": {
			func(t *testing.T, path string) {
				makeRegistry(t, path)
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				copy(content[len(content)/2:], strings.Repeat("garbage ", 4096))
				write(t, path, string(content))
			},
			"it is damaged, or no registry",
		},
		"a registry of a newer version": {
			func(t *testing.T, path string) {
				makeRegistry(t, path)
				execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1))
			},
			fmt.Sprintf("a newer version of Storekeeper wrote it (schema %d, this one knows %d): start that version", len(migrations)+1, len(migrations)),
		},
		"another program's database": {
			func(t *testing.T, path string) { execute(t, path, "CREATE TABLE things (a)") },
			"it is the database of another program",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "registry.db")
			test.make(t, path)
			before, err := os.ReadFile(path)
			require.NoError(t, err)

			_, err = Open(t.Context(), Options{Path: path})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			_, err = Open(t.Context(), Options{Path: path})
			require.ErrorContains(t, err, test.want, "the lock is let go")
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// makeRegistry leaves a registry with some stores at path.
func makeRegistry(t *testing.T, path string) {
	t.Helper()
	r, err := Open(t.Context(), Options{Path: path})
	require.NoError(t, err)
	fill(t, r, MaxBatch)
	require.NoError(t, r.Close())
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// fill ensures n stores, in batches.
func fill(t testing.TB, r Manager, n int) {
	t.Helper()
	for first := 0; first < n; first += MaxBatch {
		_, err := r.EnsureBatch(t.Context(), batch(first, min(MaxBatch, n-first), t0))
		require.NoError(t, err)
	}
}

func batch(first, n int, at time.Time) []EnsureRequest {
	qs := make([]EnsureRequest, n)
	for i := range qs {
		qs[i] = EnsureRequest{StoreID: fmt.Sprintf("store-%07d", first+i), At: at}
	}
	return qs
}

func TestAFileIsOpenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := Open(t.Context(), Options{Path: b.path})
	require.ErrorContains(t, err, "another process has it open: stop that one, or use another file")
	require.NoError(t, b.registry.Close())
	open(t, Options{Path: b.path})
}

func TestAPathMayHoldAnyCharacter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?x=1&mode=ro#%41", "régistry.db")
	require.NoError(t, open(t, Options{Path: path}).Ping(t.Context()))
	_, err := os.Stat(path)
	require.NoError(t, err)
}

func TestAFullDiskLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fill(t, b, 10)
	var pages int
	require.NoError(t, b.registry.write.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages))
	limit := func(pages int) {
		var got int
		require.NoError(t, b.registry.write.QueryRowContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages)).Scan(&got))
	}
	limit(pages + 2)
	_, err := b.EnsureBatch(t.Context(), batch(10, MaxBatch, t0))
	var full *sqlite.Error
	require.ErrorAs(t, err, &full)
	require.Equal(t, sqlite3.SQLITE_FULL, full.Code())
	require.Equal(t, 10, b.overview(t).Monitored)
	requireCountsMatchRows(t, b.registry)

	limit(1 << 20)
	fill(t, b, MaxBatch)
	require.Equal(t, MaxBatch, b.overview(t).Monitored)
}

func TestTombstonesArePrunedWhenTheyAreOldEnough(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(t, 0)
	b.begin(t, 1, "run") // a store with an old pending deletion is no tombstone
	tombstone := func(id string) {
		res, err := b.BeginDeletion(t.Context(), DeletionRequest{StoreID: id, At: t0, DeleteAt: t0, Owner: "run"})
		require.NoError(t, err)
		require.Equal(t, DeletionAlreadyStopped, res.Outcome)
	}
	tombstone("old")
	tombstone("renewed")
	b.clock.Set(t0.Add(defaultTombstoneRetention))
	tombstone("renewed")
	b.clock.Set(t0.Add(defaultTombstoneRetention + time.Microsecond))
	tombstone("new")

	_, err := b.Get(t.Context(), "old")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, 2, b.overview(t).Tombstones)
	require.Equal(t, 1, b.overview(t).Monitored)

	require.NoError(t, b.registry.Close())
	b.clock.Set(t0.Add(defaultTombstoneRetention + 2*time.Microsecond))
	b.registry = open(t, Options{Path: b.path, Now: b.clock.Now, TombstoneRetention: time.Microsecond})
	o, err := b.registry.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, o.Tombstones, "opening prunes, with the retention of then")
}

func TestOverviewNeverLooksAtAllStores(t *testing.T) {
	t.Parallel()
	r := open(t, Options{})
	fill(t, r, 10)
	rows, err := r.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+selectOverview, 0, 0, 0, 0)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var node, parent, unused int
		var detail string
		require.NoError(t, rows.Scan(&node, &parent, &unused, &detail))
		if strings.Contains(detail, "stores") {
			plan = append(plan, detail)
		}
	}
	require.NoError(t, rows.Err())
	require.Len(t, plan, 6)
	for _, detail := range plan {
		require.Regexp(t, `INDEX stores_(pending|held|pinned|tombstones)`, detail)
	}
}

func TestReadsDoNotWaitForAWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ensure(t, 1)
	_, err := change(t.Context(), b.registry, func(tx *changes) (struct{}, error) {
		err := tx.apply(t.Context(), id, func(s *record) error { s.pin(tx.decision); return nil })
		require.NoError(t, err)
		require.False(t, b.get(t).Pinned)
		require.Equal(t, 1, b.overview(t).Monitored)
		return struct{}{}, b.registry.Ping(t.Context())
	})
	require.NoError(t, err)
	require.True(t, b.get(t).Pinned)
}

func TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b *bundle) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := change(t.Context(), b.registry, func(*changes) (struct{}, error) { // the writer is busy
			done := make(chan error, 1)
			go func() {
				_, err := b.Ensure(ctx, EnsureRequest{StoreID: id, At: t0})
				done <- err
			}()
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			return struct{}{}, nil
		})
		require.NoError(t, err)
		_, err = b.Get(t.Context(), id)
		require.ErrorIs(t, err, ErrNotFound)
	})
}
