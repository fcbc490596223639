package temporalserver_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/temporalserver"
)

// sqliteFile is a database on which statement was run.
func sqliteFile(t *testing.T, statement string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.db")
	execute(t, path, statement)
	return path
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// asFoundByAnotherProcess copies a database. Temporal keeps the original open until this process ends, so a second start
// on that one would not show what is on disk.
func asFoundByAnotherProcess(t *testing.T, path string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied+suffix, content, 0o600))
	}
	return copied
}

func TestStartRefusesADatabaseThatHasChanged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(t *testing.T, path string)
		want   string
	}{
		"an older schema": {
			func(t *testing.T, path string) { execute(t, path, "DROP TABLE nexus_endpoints") },
			"nexus_endpoints.id is missing",
		},
		"a newer schema": {
			func(t *testing.T, path string) { execute(t, path, "ALTER TABLE shards ADD COLUMN future TEXT") },
			"shards.future is unknown to this version",
		},
		"a truncated file": {
			func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 64<<10)) },
			"damaged",
		},
		"a file with a hole": {
			func(t *testing.T, path string) {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				require.NoError(t, err)
				_, err = f.WriteAt(make([]byte, 64<<10), 16<<10)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			},
			"damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			original := filepath.Join(t.TempDir(), "original.db")
			start(t, temporalserver.Options{DatabasePath: original}).Stop()
			path := asFoundByAnotherProcess(t, original)
			execute(t, path, "PRAGMA wal_checkpoint(TRUNCATE)")

			test.change(t, path)
			requireStartError(t, temporalserver.Options{DatabasePath: path}, test.want)
		})
	}
}
