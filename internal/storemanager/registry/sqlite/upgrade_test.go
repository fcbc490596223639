package sqlite_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/tests/proctest"
)

// upgradeFileEnv makes the test binary a process that upgrades that registry, and waits before it commits.
const upgradeFileEnv = "STOREMANAGER_UPGRADE_FILE"

// second is a second in microseconds, as columns have times.
const second = 1_000_000

// makeVersion9 leaves a registry at path as the version wrote it whose schema was 9, with a row of each kind.
func makeVersion9(t *testing.T, path string) {
	t.Helper()
	t0 := storetest.T0.UnixMicro()
	execute(t, path, strings.Join(sqlite.Migrations[:9], ";")+fmt.Sprintf(`;
		PRAGMA application_id = %d; PRAGMA user_version = 9;
		INSERT INTO stores VALUES
			('held', NULL, %[2]d, 'req', %[2]d, %[2]d, NULL, NULL, 0, NULL, NULL, '', NULL, '', %[2]d, NULL, 'why', 'ann', NULL, NULL, NULL, 0),
			('pending', NULL, %[2]d, 'req', %[2]d, %[2]d, NULL, %[2]d, 0, %[3]d, %[4]d, 'run', NULL, '', NULL, NULL, '', '', %[3]d, %[3]d, %[3]d, 1),
			('pinned', NULL, %[2]d, 'req', %[2]d, %[2]d, NULL, NULL, 1, NULL, NULL, '', %[3]d, '', NULL, NULL, '', '', NULL, NULL, NULL, 0),
			('stopped', %[3]d, %[3]d, '', %[2]d, %[2]d, %[3]d, NULL, 0, NULL, NULL, '', NULL, 'run', NULL, NULL, '', '', NULL, NULL, NULL, 0);
		INSERT INTO store_events VALUES ('held', 1, %[2]d, 'ensure', 'created', ''), ('held', 2, %[3]d, 'hold', 'done', 'by ann: why');
		INSERT INTO cursors VALUES ('held', 'backend', 7);
		INSERT INTO pauses VALUES ('held', %[2]d, NULL, 'calm', 'ann');
		INSERT INTO reconcile_runs VALUES ('run-1', %[2]d, %[3]d, '', '{"missing":1}');
		INSERT INTO list_removals VALUES (%[3]d, 'stopped', %[3]d);
		INSERT INTO losses VALUES (%[2]d, 'old loss', %[3]d, 'ann', 'known'), (%[3]d, 'new loss', NULL, '', '');
		INSERT INTO deliveries VALUES ('d1', %[2]d, '%[5]s', 200, '{"a":1}'), ('d2', %[3]d, '%[5]s', 202, '{}');
		INSERT INTO accepted_events VALUES ('e1', 'held', %[2]d, %[3]d, '{"e":1}'), ('e2', 'pinned', %[2]d, %[3]d, '{"e":2}');
		UPDATE totals SET provisioned = 4, stopped = 1, last_provisioned_at = %[2]d, last_stopped_at = %[3]d, reconcile_successes = 3,
			reconcile_failures = 2, last_reconcile_success_at = %[3]d, guard_since = %[2]d, guard_reason = 'too many', guard_approved_at = %[2]d,
			deliveries = 2, engine = 'engine-1', changes = 41`,
		sqlite.ApplicationID, t0, t0+second, t0+100*second, strings.Repeat("0a", 32)))
}

func TestAnUpgradeFromVersion9KeepsAllRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	makeVersion9(t, path)
	before := rowsOf(t, path)
	require.Len(t, before, 10)
	for table, rows := range before {
		require.NotEmpty(t, rows, table)
	}
	requireUpgraded(t, path)

	moved := map[string]any{"id": int64(1), "deliveries": int64(2), "engine": "engine-1"}
	delete(before["totals"][0], "deliveries")
	delete(before["totals"][0], "engine")
	before["delivery_totals"] = []map[string]any{moved}
	moveEvents(before)
	require.Equal(t, before, rowsOf(t, path))
}

// moveEvents does to rows what the step to version 11 does to the tables.
func moveEvents(rows map[string][]map[string]any) {
	rows["audit"], rows["settings"] = nil, nil
	for i, event := range rows["store_events"] {
		entry := map[string]any{"evidence": ""}
		for _, text := range []string{"source", "actor", "via", "reason", "delivery_id", "run_id", "request_id", "trace_id", "batch", "plan", "user_id"} {
			entry[text] = ""
		}
		maps.Copy(entry, event)
		entry["seq"] = int64(i + 1)
		rows["audit"] = append(rows["audit"], entry)
	}
	delete(rows, "store_events")
	for _, store := range rows["stores"] {
		store["missing_list"], store["deletion_cause"], store["user_id"] = "", "", ""
	}
}

// makeVersion10 leaves a registry at path as the version wrote it whose schema was 10, with a row of each kind, and events of several stores.
func makeVersion10(t *testing.T, path string) {
	t.Helper()
	makeVersion9(t, path)
	t0 := storetest.T0.UnixMicro()
	execute(t, path, sqlite.Migrations[9]+fmt.Sprintf(`; PRAGMA user_version = 10;
		INSERT INTO store_events VALUES ('pending', 4, %[1]d, 'ensure', 'created', ''), ('pending', 5, %[3]d, 'deletion', 'scheduled', 'due'),
			('another', 9, %[2]d, 'stop', 'stopped', '')`, t0-second, t0+second/2, t0+2*second))
}

func TestAnUpgradeFromVersion10MovesTheHistoryAndKeepsAllElse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	makeVersion10(t, path)
	before := rowsOf(t, path)
	require.Len(t, before, 11)
	require.Len(t, before["store_events"], 5)
	slices.SortFunc(before["store_events"], func(a, b map[string]any) int { return cmp.Compare(a["at"].(int64), b["at"].(int64)) })
	requireUpgraded(t, path)
	moveEvents(before)
	require.Equal(t, before, rowsOf(t, path))

	r := storetest.Open(t, storetest.Settings{Path: path})
	page, err := r.Audit(t.Context(), storemanager.AuditQuery{StoreID: "pending", OldestFirst: true})
	require.NoError(t, err)
	require.Equal(t, []storemanager.AuditEntry{
		{Seq: 1, At: storetest.At(-1), Kind: "ensure", StoreID: "pending", Outcome: "created"},
		{Seq: 5, At: storetest.At(2), Kind: "deletion", StoreID: "pending", Outcome: "scheduled", Detail: "due"},
	}, page.Entries)
}

func TestTheAuditTrailCantBeChanged(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{})
	_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: storetest.ID, At: storetest.T0})
	require.NoError(t, err)
	for _, statement := range []string{
		`UPDATE audit SET actor = 'somebody else'`, `UPDATE audit SET seq = seq + 1`,
		`INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT (seq) DO UPDATE SET actor = 'somebody else'`,
	} {
		_, err := r.Write.ExecContext(t.Context(), statement)
		require.ErrorContains(t, err, "the audit trail is never changed", statement)
	}
}

func TestAnUpgradedFileHasTheSchemaOfANewOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	makeVersion9(t, dir+"/old.db")
	schemas := map[string]string{}
	for _, name := range []string{"old.db", "new.db"} {
		r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: filepath.Join(dir, name)})
		require.NoError(t, err)
		var schema string
		require.NoError(t, r.Query(t, `SELECT group_concat(name || ': ' || coalesce(sql, ''), char(10)) FROM (SELECT * FROM sqlite_schema ORDER BY name)`).Scan(&schema))
		require.NoError(t, r.Close())
		schemas[name] = schema
	}
	require.Equal(t, schemas["new.db"], schemas["old.db"])
	require.Contains(t, schemas["old.db"], "accepted_events_store: CREATE INDEX accepted_events_store")
	require.NotContains(t, strings.Join(sqlite.Migrations[:9], ""), "accepted_events_store", "the files of version 9 were made without it")
}

func TestAKillInTheMiddleOfAnUpgradeLosesNothing(t *testing.T) {
	t.Parallel()
	for name, made := range map[string]func(*testing.T, string){"version 9": makeVersion9, "version 10": makeVersion10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "registry.db")
			made(t, path)
			before := rowsOf(t, path)
			child := proctest.StartSelf(t, upgradeFileEnv+"="+path)
			line, ok := child.Next()
			require.True(t, ok)
			require.Equal(t, "upgraded", line)
			require.NoError(t, child.Process.Kill())
			_ = child.Wait() // "signal: killed"
			require.Equal(t, before, rowsOf(t, path))
			requireUpgraded(t, path)
		})
	}
}

// upgradeUntilKilled runs all that leads from the version of the file to today's, commits nothing, and waits. Its log is on disk, because its cache is too
// small for it.
func upgradeUntilKilled(path string) {
	err := func() error {
		ctx := context.Background()
		db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(wal)&_pragma=cache_size(1)")
		if err != nil {
			return err
		}
		version, err := sqlite.SchemaVersion(ctx, db)
		if err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, strings.Join(sqlite.Migrations[version:], ";")+fmt.Sprintf("; PRAGMA user_version = %d", len(sqlite.Migrations)))
		return err
	}()
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	fmt.Println("upgraded")
	select {}
}

// requireUpgraded opens what makeVersion9 has left, and closes it.
func requireUpgraded(t *testing.T, path string) {
	t.Helper()
	ctx, clock := t.Context(), storetest.NewClock()
	clock.Set(storetest.At(2))
	r, err := storetest.TryOpen(ctx, storetest.Settings{Path: path, Now: clock.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	o, err := r.Overview(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{3, 1, 1, 1, 1, 1, 1}, []int{o.Monitored, o.DeletionPending, o.Held, o.Pinned, o.Tombstones, o.PausedStores, o.ListRemovals})
	require.Equal(t, "new loss", o.Loss().Reason)
	held, err := r.Get(ctx, "held")
	require.NoError(t, err)
	require.Equal(t, "ann", held.Hold.Actor)
	require.Equal(t, "calm", held.Pause.Reason)
	require.Len(t, held.History, 2)
	pending, err := r.Get(ctx, "pending")
	require.NoError(t, err)
	require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(1), Since: storetest.At(1), DeleteAt: storetest.At(100), Owner: "run", ByList: true}, pending.Deletion)
	cursor, err := r.Cursor(ctx, "held")
	require.NoError(t, err)
	require.Equal(t, registry.Cursor{BackendID: "backend", Seq: 7}, cursor)
	runs, err := r.Reconciliation(ctx)
	require.NoError(t, err)
	require.Equal(t, []int64{5, 3, 2}, []int64{runs.Runs, runs.Successes, runs.Failures})

	n, err := r.Count(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	d, err := r.Delivery(ctx, "d2")
	require.NoError(t, err)
	require.Equal(t, 202, d.Status)
	known, err := r.Unheard(ctx, deliveries.UnheardRequest{Engine: "engine-1"})
	require.NoError(t, err)
	require.Empty(t, known, "this engine knows them")
	unheard, err := r.Unheard(ctx, deliveries.UnheardRequest{Engine: "engine-2"})
	require.NoError(t, err)
	require.Len(t, unheard, 1, "the pinned store has heard of a newer event, whose deletion was cancelled")
	require.Equal(t, deliveries.AcceptedEvent{DeliveryID: "e1", StoreID: "held", EventAt: storetest.At(1), Event: []byte(`{"e":1}`)}, unheard[0])
}

// rowsOf reads all rows of the registry at path, by table, without opening it as a registry.
func rowsOf(t *testing.T, path string) map[string][]map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	all := map[string][]map[string]any{}
	for table := range strings.FieldsSeq(text(ctx, t, db, `SELECT group_concat(name, ' ') FROM sqlite_schema WHERE type = 'table'`)) {
		names := strings.Fields(text(ctx, t, db, `SELECT group_concat(name, ' ') FROM pragma_table_info(?)`, table))
		all[table] = readRows(ctx, t, db, table, names)
	}
	return all
}

func readRows(ctx context.Context, t *testing.T, db *sql.DB, table string, names []string) (all []map[string]any) {
	t.Helper()
	rows, err := db.QueryContext(ctx, `SELECT * FROM `+table+` ORDER BY 1, 2`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		values, row := make([]any, len(names)), map[string]any{}
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		require.NoError(t, rows.Scan(targets...))
		for i, name := range names {
			row[name] = values[i]
		}
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}

func text(ctx context.Context, t *testing.T, db *sql.DB, query string, args ...any) (s string) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(ctx, query, args...).Scan(&s))
	return s
}
