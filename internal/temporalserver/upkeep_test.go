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
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/temporalserver"
)

func TestWhoReadsTheLogIsLeftInPeace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal.db")
	core, logs := observer.New(zap.WarnLevel)
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0", DatabasePath: path, Logger: zap.New(core)})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	reader, err := db.BeginTx(t.Context(), nil) // as a backup does
	require.NoError(t, err)
	var n int
	require.NoError(t, reader.QueryRowContext(t.Context(), "SELECT count(*) FROM executions").Scan(&n))
	c := dial(t, server)
	upkeep := func() int { return logs.FilterMessage("upkeep of temporal's database").Len() }
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: taskQueue}, "sleeper", time.Hour)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return upkeep() > 0 }, time.Minute, 10*time.Millisecond, "it has tried")
	require.Contains(t, logs.FilterMessage("upkeep of temporal's database").All()[0].ContextMap()["error"], "readers are in the way")
	require.Empty(t, logs.FilterMessageSnippet("deadline exceeded").All())
	require.NoError(t, reader.Rollback())
}

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
