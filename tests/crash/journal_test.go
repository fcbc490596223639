package crash_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager/storetest"

	_ "modernc.org/sqlite"
)

// the driver "sqlite"

const registryFile = "stores.db"

// The journal is kept by the registry's own database, in the same transaction as each change: nothing that a registry ever said is
// missed, whenever its process was killed, and nobody has to look all the time.
const journalSchema = `
CREATE TABLE crash_rows (
	n INTEGER PRIMARY KEY, at INTEGER, id TEXT, tombstone_at INTEGER, event_at INTEGER, last_stopped_at INTEGER,
	deletion_event_at INTEGER, delete_at INTEGER, cancelled_event_at INTEGER);
CREATE TRIGGER crash_rows_inserted AFTER INSERT ON stores BEGIN
	INSERT INTO crash_rows VALUES (NULL, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.id, NEW.tombstone_at, NEW.event_at,
		NEW.last_stopped_at, NEW.deletion_event_at, NEW.delete_at, NEW.cancelled_event_at);
END;
CREATE TRIGGER crash_rows_updated AFTER UPDATE ON stores BEGIN
	INSERT INTO crash_rows VALUES (NULL, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.id, NEW.tombstone_at, NEW.event_at,
		NEW.last_stopped_at, NEW.deletion_event_at, NEW.delete_at, NEW.cancelled_event_at);
END;

CREATE TABLE crash_decisions (n INTEGER PRIMARY KEY, at INTEGER, id TEXT, kind TEXT, detail TEXT);
CREATE TRIGGER crash_decisions_inserted AFTER INSERT ON audit WHEN NEW.store_id <> '' BEGIN
	INSERT INTO crash_decisions VALUES (NULL, NEW.at, NEW.store_id, NEW.kind, NEW.detail);
END;

CREATE TABLE crash_runs (id TEXT PRIMARY KEY, completed_at INTEGER, list_at TEXT, trigger TEXT);
CREATE TRIGGER crash_runs_inserted AFTER INSERT ON reconcile_runs WHEN NEW.error = '' BEGIN
	INSERT OR REPLACE INTO crash_runs VALUES (NEW.run_id, NEW.completed_at, json_extract(NEW.report, '$.listAt'),
		json_extract(NEW.report, '$.trigger'));
END;
`

// row is what the registry knew of a store from one change to the next. Times are zero for never.
type row struct {
	at         time.Time // of the change
	monitored  bool
	eventAt    time.Time
	stoppedAt  time.Time
	deletionAt time.Time // of the event that asked for the pending deletion
	deleteAt   time.Time
	cancelled  time.Time
}

func (r row) pending() bool { return !r.deleteAt.IsZero() }

// newest is the newest moment that the row speaks of.
func (r row) newest() time.Time {
	newest := r.eventAt
	for _, t := range []time.Time{r.deletionAt, r.cancelled} {
		if t.After(newest) {
			newest = t
		}
	}
	return newest
}

// decision is an event of a store: what the registry was asked for.
type decision struct {
	at           time.Time
	kind, detail string
}

// run is a reconcile run that succeeded.
type run struct {
	listAt, completedAt time.Time
	trigger             string
}

// journal is everything that the registry went through.
type journal struct {
	rows      map[string][]row // of each store, in order
	decisions map[string][]decision
	runs      []run
	// What the registry itself has counted.
	provisioned, stopped int
}

// prepareRegistry makes an empty registry with a journal.
func prepareRegistry(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, registryFile)
	registry, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
	require.NoError(t, err)
	require.NoError(t, registry.Close())
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), journalSchema)
	require.NoError(t, err)
}

// readJournal reads the journal of a registry that no process has open.
func readJournal(t *testing.T, dir string) journal {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, registryFile))
	require.NoError(t, err)
	defer db.Close()
	j := journal{rows: map[string][]row{}, decisions: map[string][]decision{}}
	each(t, db, `SELECT at, id, tombstone_at, event_at, last_stopped_at, deletion_event_at, delete_at, cancelled_event_at
		FROM crash_rows ORDER BY n`, func(scan func(...any)) {
		var id string
		var at, tombstone, event, stopped, deletion, deleteAt, cancelled sql.NullInt64
		scan(&at, &id, &tombstone, &event, &stopped, &deletion, &deleteAt, &cancelled)
		j.rows[id] = append(j.rows[id], row{
			at: moment(at), monitored: event.Valid && !tombstone.Valid, eventAt: moment(event), stoppedAt: moment(stopped),
			deletionAt: moment(deletion), deleteAt: moment(deleteAt), cancelled: moment(cancelled),
		})
	})
	each(t, db, `SELECT at, id, kind, detail FROM crash_decisions ORDER BY n`, func(scan func(...any)) {
		var at sql.NullInt64
		var id string
		var d decision
		scan(&at, &id, &d.kind, &d.detail)
		d.at = moment(at)
		j.decisions[id] = append(j.decisions[id], d)
	})
	each(t, db, `SELECT completed_at, list_at, trigger FROM crash_runs ORDER BY completed_at`, func(scan func(...any)) {
		var completed sql.NullInt64
		var listAt, trigger string
		scan(&completed, &listAt, &trigger)
		at, err := time.Parse(time.RFC3339, listAt)
		require.NoError(t, err)
		j.runs = append(j.runs, run{listAt: at, completedAt: moment(completed), trigger: trigger})
	})
	each(t, db, `SELECT provisioned, stopped FROM totals`, func(scan func(...any)) { scan(&j.provisioned, &j.stopped) })
	return j
}

func each(t *testing.T, db *sql.DB, query string, fn func(scan func(...any))) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		fn(func(dest ...any) { require.NoError(t, rows.Scan(dest...)) })
	}
	require.NoError(t, rows.Err())
}

// moment is a column of the registry: microseconds since 1970, NULL for never.
func moment(column sql.NullInt64) time.Time {
	if !column.Valid {
		return time.Time{}
	}
	return time.UnixMicro(column.Int64)
}
