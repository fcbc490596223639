package storemanager

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestRegistriesInMemoryAreApart(t *testing.T) {
	t.Parallel()
	a, b := Open(t, Settings{}), Open(t, Settings{})
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

			_, err = TryOpen(t.Context(), Settings{Path: path})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			_, err = TryOpen(t.Context(), Settings{Path: path})
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
	r, err := TryOpen(t.Context(), Settings{Path: path})
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

func TestAFileIsOpenOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := TryOpen(t.Context(), Settings{Path: b.path})
	require.ErrorContains(t, err, "another process has it open: stop that one, or use another file")
	require.NoError(t, b.registry.Close())
	Open(t, Settings{Path: b.path})
}

func TestAPathMayHoldAnyCharacter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?x=1&mode=ro#%41", "régistry.db")
	require.NoError(t, Open(t, Settings{Path: path}).Ping(t.Context()))
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

func TestOverviewNeverLooksAtAllStores(t *testing.T) {
	t.Parallel()
	r := Open(t, Settings{})
	fill(t, r, 10)
	rows, err := r.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+selectCounts, 0, 0, 0, 0)
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
