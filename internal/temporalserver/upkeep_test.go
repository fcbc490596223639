package temporalserver_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"storekeeper/internal/temporalserver"
)

func TestSpaceIsGivenBackWhileTheServerIsIdle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal.db")
	server := start(t, temporalserver.Options{DatabasePath: path})
	c := dial(t, server)
	size := func(suffix string) int64 {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		return info.Size()
	}
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout=10000")
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		"CREATE TABLE _ballast (content BLOB)",
		"WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO _ballast SELECT randomblob(1000000) FROM n",
		"PRAGMA wal_checkpoint(PASSIVE)",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	require.Greater(t, size(""), int64(38<<20))
	_, err = db.ExecContext(t.Context(), "DROP TABLE _ballast")
	require.NoError(t, err)

	work, done := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	go func() { // it goes on meanwhile
		for work.Err() == nil {
			if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour); err != nil {
				worked <- err
				return
			}
			select {
			case <-work.Done():
			case <-time.After(10 * time.Second):
			}
		}
		worked <- nil
	}()
	require.Eventually(t, func() bool { return size("") < 10<<20 && size("-wal") == 0 }, time.Minute, 100*time.Millisecond)
	done()
	require.NoError(t, <-worked)
}
