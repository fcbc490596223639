package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

func TestRegistriesInMemoryAreApart(t *testing.T) {
	t.Parallel()
	a, b := storetest.Open(t, storetest.Settings{}), storetest.Open(t, storetest.Settings{})
	require.NoError(t, a.SetPins(t.Context(), []string{storetest.ID}))
	_, err := a.Get(t.Context(), storetest.ID)
	require.NoError(t, err)
	_, err = b.Get(t.Context(), storetest.ID)
	require.ErrorIs(t, err, storemanager.ErrNotFound)

	// A call that is given up may cost the connection, but not the database in it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Ensure(ctx, storemanager.EnsureRequest{StoreID: "another", At: storetest.T0})
	require.ErrorIs(t, err, context.Canceled)
	_, err = a.Get(t.Context(), storetest.ID)
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
				execute(t, path, fmt.Sprintf("PRAGMA user_version = %d", len(sqlite.Migrations)+1))
			},
			fmt.Sprintf("a newer version of Storekeeper wrote it (schema %d, this one knows %d): start that version", len(sqlite.Migrations)+1, len(sqlite.Migrations)),
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

			_, err = storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			_, err = storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
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
	r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
	require.NoError(t, err)
	storetest.Fill(t, r, storemanager.MaxBatch)
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
	b := storetest.Setup(t)
	_, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: b.Path})
	require.ErrorContains(t, err, "another process has it open: stop that one, or use another file")
	require.NoError(t, b.Registry.Close())
	storetest.Open(t, storetest.Settings{Path: b.Path})
}

func TestAPathMayHoldAnyCharacter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a ?x=1&mode=ro#%41", "régistry.db")
	require.NoError(t, storetest.Open(t, storetest.Settings{Path: path}).Ping(t.Context()))
	_, err := os.Stat(path)
	require.NoError(t, err)
}

func TestAFullDiskLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	storetest.Fill(t, b, 10)
	var pages int
	require.NoError(t, b.Registry.Write.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages))
	limit := func(pages int) {
		var got int
		require.NoError(t, b.Registry.Write.QueryRowContext(t.Context(), fmt.Sprint("PRAGMA max_page_count = ", pages)).Scan(&got))
	}
	limit(pages + 2)
	_, err := b.EnsureBatch(t.Context(), storetest.Batch(10, storemanager.MaxBatch, storetest.T0))
	var full *driver.Error
	require.ErrorAs(t, err, &full)
	require.Equal(t, sqlite3.SQLITE_FULL, full.Code())
	require.Equal(t, 10, b.MustOverview(t).Monitored)
	storetest.RequireCountsMatchRows(t, b.Registry)

	limit(1 << 20)
	storetest.Fill(t, b, storemanager.MaxBatch)
	require.Equal(t, storemanager.MaxBatch, b.MustOverview(t).Monitored)
}

func TestOverviewNeverLooksAtAllStores(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{})
	storetest.Fill(t, r, 10)
	rows, err := r.Read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+sqlite.SelectCounts, 0, 0, 0, 0)
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
	require.Len(t, plan, 8)
	for _, detail := range plan {
		require.Regexp(t, `INDEX stores_(pending|held|pinned|tombstones)`, detail)
	}
}
