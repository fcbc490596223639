package sqlite_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
)

// killed is the directory of a registry whose process was killed: what was written is there, and nothing was tidied up.
type killed struct{ dir string }

func (k killed) file(suffix string) string { return filepath.Join(k.dir, "stores.db"+suffix) }

func (k killed) open(t *testing.T) *storetest.Database {
	t.Helper()
	return storetest.Open(t, storetest.Settings{Path: k.file("")})
}

// remove removes the file, which must be there.
func (k killed) remove(t *testing.T, suffix string) {
	t.Helper()
	require.NoError(t, os.Remove(k.file(suffix)))
}

// kill leaves a registry with n stores, each of them a change or two, behind.
func kill(t *testing.T, n int) killed {
	t.Helper()
	dir := t.TempDir()
	r := storetest.Open(t, storetest.Settings{Path: filepath.Join(dir, "stores.db")})
	ensureEach(t, r, 0, n)
	return copied(t, killed{dir})
}

func ensureEach(t *testing.T, r *storetest.Database, first, n int) {
	t.Helper()
	for i := range n {
		_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("store-%d", first+i), At: storetest.T0})
		require.NoError(t, err)
	}
}

// copied is what a process that is killed now would leave.
func copied(t *testing.T, k killed) killed {
	t.Helper()
	to := killed{t.TempDir()}
	require.NoError(t, os.CopyFS(to.dir, os.DirFS(k.dir)))
	return to
}

func (k killed) mark() string { return sqlite.MarkOf(k.file("")) }

// put replaces the database by that of another directory.
func (k killed) put(t *testing.T, from killed) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(from.file(suffix))
		if os.IsNotExist(err) {
			content = nil
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(k.file(suffix), content, 0o600))
	}
}

func flipBit(t *testing.T, path string, from, to int64) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	at := from + rand.Int64N(min(to, int64(len(content)))-from)
	content[at] ^= 1 << rand.IntN(8)
	t.Logf("byte %d of %d", at, len(content))
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

const stores = 30

// losses are what may happen to a registry of so many stores, and what is found.
var losses = map[string]struct {
	lose  func(t *testing.T, k killed)
	found string
}{
	"the file is deleted, and its log": {
		func(t *testing.T, k killed) { k.remove(t, ""); k.remove(t, "-wal"); k.remove(t, "-shm") },
		"the registry is new, though one with 30 changes was here",
	},
	"the file alone is deleted": {func(t *testing.T, k killed) { k.remove(t, "") }, "is new, though one with 30 changes"},
	"all that has its name is deleted": {
		func(t *testing.T, k killed) {
			all, err := filepath.Glob(k.file("*"))
			require.NoError(t, err)
			for _, file := range all {
				require.NoError(t, os.Remove(file))
			}
		},
		"is new, though one with 30 changes",
	},
	"the file is cut down to nothing": {func(t *testing.T, k killed) { require.NoError(t, os.Truncate(k.file(""), 0)) }, "is new, though"},
	"the log is deleted":              {func(t *testing.T, k killed) { k.remove(t, "-wal") }, "changes was here"},
	"the log is cut": {
		func(t *testing.T, k killed) {
			info, err := os.Stat(k.file("-wal"))
			require.NoError(t, err)
			require.NoError(t, os.Truncate(k.file("-wal"), rand.Int64N(info.Size())))
		},
		"",
	},
	"the head of the log is damaged in one bit": {func(t *testing.T, k killed) { flipBit(t, k.file("-wal"), 0, 32) }, ""},
	"the log is damaged in one bit":             {func(t *testing.T, k killed) { flipBit(t, k.file("-wal"), 0, 1<<30) }, ""},
	"an old backup is put back": {
		func(t *testing.T, k killed) {
			// Of the same registry: what it was some changes ago.
			r := k.open(t)
			old := copied(t, k)
			ensureEach(t, r, stores, 11)
			require.NoError(t, r.Close())
			k.put(t, old)
		},
		"the registry is 11 changes behind its mark: it went back in time, or its log was damaged",
	},
	"a backup from before the upgrade is put back": {
		func(t *testing.T, k killed) {
			require.NoError(t, os.Remove(k.file("-wal")))
			require.NoError(t, os.Remove(k.file("")))
			for version := range sqlite.Migrations[:len(sqlite.Migrations)-1] {
				execute(t, k.file(""), sqlite.Migrations[version]+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", sqlite.ApplicationID, version+1))
			}
		},
		"the registry is another one than was here: it has seen 0 changes, that one had seen 30",
	},
	"it is replaced by that of another installation": {
		func(t *testing.T, k killed) { k.put(t, kill(t, stores+5)) },
		"the registry is another one than was here: it has seen 35 changes, that one had seen 30",
	},
	"the file is deleted and the mark is damaged": {
		func(t *testing.T, k killed) { k.remove(t, ""); write(t, k.mark(), "garbage") },
		"the registry is new, though another one was here",
	},
	"the mark is damaged": {func(t *testing.T, k killed) { write(t, k.mark(), "") }, "the mark of the registry is damaged, so nobody can tell"},
}

func TestARegistryThatIsLostSaysSoUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	for name, tt := range losses {
		rounds := 1
		if tt.found == "" { // at random
			rounds = 3
		}
		for round := range rounds {
			t.Run(fmt.Sprint(name, " ", round), func(t *testing.T) {
				t.Parallel()
				k := kill(t, stores)
				tt.lose(t, k)
				r := k.open(t)
				guard := requireLost(t, r)
				require.Contains(t, guard.Reason, tt.found)

				ensureEach(t, r, 100, 200) // more than were lost
				require.NoError(t, r.Close())
				r = k.open(t)
				require.Equal(t, guard, requireLost(t, r), "it is kept")
				storetest.RequireCountsMatchRows(t, r)
				require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
				requireNotLost(t, r)
				require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}), "a repeat")
				require.NoError(t, r.Close())
				requireNotLost(t, k.open(t))
			})
		}
	}
}

// A log that is used over and over holds what is in the file already, and what is of no use any more.
func TestARegistryIsNeverSmallerWithoutAWord(t *testing.T) {
	t.Parallel()
	dir := killed{t.TempDir()}
	r := dir.open(t)
	const many = 600 // some 2,000 pages: the log has begun anew
	ensureEach(t, r, 0, many)
	original := copied(t, dir)
	var lost, refused, whole int
	for round := range 30 {
		k := copied(t, original)
		info, err := os.Stat(k.file("-wal"))
		require.NoError(t, err)
		if round%2 == 0 {
			require.NoError(t, os.Truncate(k.file("-wal"), rand.Int64N(info.Size())))
		} else {
			flipBit(t, k.file("-wal"), 0, info.Size())
		}
		r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: k.file("")})
		if err != nil {
			require.ErrorContains(t, err, "it is damaged")
			refused++
			continue
		}
		o, err := r.Overview(t.Context())
		require.NoError(t, err)
		if o.Guard != nil && o.Guard.Lost {
			lost++
		} else {
			require.Equal(t, many, o.Monitored)
			whole++
		}
		require.NoError(t, r.Close())
	}
	t.Logf("%d lost, %d refused, %d whole", lost, refused, whole)
	require.NotZero(t, lost)
}

func requireLost(t *testing.T, r *storetest.Database) *storemanager.KeptBack {
	t.Helper()
	o, err := r.Overview(t.Context())
	require.NoError(t, err)
	require.NotNil(t, o.Guard)
	require.True(t, o.Guard.Lost)
	require.NotZero(t, o.Guard.Since)
	require.NotEmpty(t, o.Guard.Reason)
	return o.Guard
}

func requireNotLost(t *testing.T, r *storetest.Database) {
	t.Helper()
	o, err := r.Overview(t.Context())
	require.NoError(t, err)
	require.Nil(t, o.Guard)
}

func TestWhatIsNoLossRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, k *killed){
		"nothing but the kill":            func(*testing.T, *killed) {},
		"the index of the log is deleted": func(t *testing.T, k *killed) { k.remove(t, "-shm") },
		"the lock is deleted":             func(t *testing.T, k *killed) { k.remove(t, ".lock") },
		"the mark is deleted":             func(t *testing.T, k *killed) { require.NoError(t, os.Remove(k.mark())) },
		"all is copied":                   func(t *testing.T, k *killed) { *k = copied(t, *k) },
		"the database is copied to another directory": func(t *testing.T, k *killed) {
			to := killed{t.TempDir()}
			to.put(t, *k)
			*k = to
		},
		"a clean stop": func(t *testing.T, k *killed) { require.NoError(t, k.open(t).Close()) },
		"the log is deleted after a clean stop": func(t *testing.T, k *killed) {
			require.NoError(t, k.open(t).Close())
			require.NoFileExists(t, k.file("-wal"))
			require.NoFileExists(t, k.file("-shm"))
		},
		"one slot of the mark is damaged": func(t *testing.T, k *killed) {
			flipBit(t, k.mark(), 0, sqlite.MarkSize)
		},
		"the other slot of the mark is damaged": func(t *testing.T, k *killed) {
			flipBit(t, k.mark(), sqlite.MarkBlock, sqlite.MarkBlock+sqlite.MarkSize)
		},
		"the mark is cut to one slot": func(t *testing.T, k *killed) { require.NoError(t, os.Truncate(k.mark(), sqlite.MarkBlock)) },
		"the mark was not yet written for the last change": func(t *testing.T, k *killed) {
			before, err := os.ReadFile(k.mark())
			require.NoError(t, err)
			r := k.open(t)
			ensureEach(t, r, 50, 1)
			*k = copied(t, *k)
			write(t, k.mark(), string(before))
		},
		"a backup tool has been here": func(t *testing.T, k *killed) {
			execute(t, k.file(""), `CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER);
				CREATE TABLE _litestream_lock (id INTEGER); ALTER TABLE stores ADD COLUMN theirs TEXT; CREATE INDEX theirs ON stores (theirs)`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := kill(t, stores)
			change(t, &k)
			for range 2 {
				r := k.open(t)
				requireNotLost(t, r)
				page, err := r.List(t.Context(), storemanager.ListRequest{})
				require.NoError(t, err)
				require.GreaterOrEqual(t, len(page.Stores), stores)
				ensureEach(t, r, 60, 3)
				require.NoError(t, r.Close())
			}
		})
	}
}

func TestARegistryInWhichNothingWasIsNoLoss(t *testing.T) {
	t.Parallel()
	k := killed{t.TempDir()}
	r := k.open(t)
	require.NoError(t, r.SetPins(t.Context(), nil))
	require.NoError(t, r.Resume(t.Context(), storemanager.ResumeRequest{}))
	require.NoError(t, r.Close())
	k.remove(t, "")
	requireNotLost(t, k.open(t))
}

func TestAFileWithNothingButTheTablesOfABackupToolIsEmpty(t *testing.T) {
	t.Parallel()
	k := killed{t.TempDir()}
	execute(t, k.file(""), "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER); CREATE UNIQUE INDEX i ON _litestream_seq (seq)")
	ensureEach(t, k.open(t), 0, 1)
}

func TestTheFileThatWasMissedIsALossAgainWhenItComesBack(t *testing.T) {
	t.Parallel()
	k := kill(t, stores)
	original := copied(t, k)
	older := copied(t, k)
	r := k.open(t)
	ensureEach(t, r, stores, 100)
	require.NoError(t, r.Close())
	newer := copied(t, k)

	k.put(t, older)
	r = k.open(t)
	requireLost(t, r)
	require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "the backup is good", Actor: "ann"}))
	ensureEach(t, r, 500, 3)
	require.NoError(t, r.Close())
	for _, other := range []killed{newer, original} { // neither has seen the last three
		k.put(t, other)
		r = k.open(t)
		requireLost(t, r)
		require.NoError(t, r.Close())
	}
}

func TestWhoAcknowledgedALossIsKeptAndLogged(t *testing.T) {
	t.Parallel()
	k := kill(t, stores)
	k.remove(t, "")
	core, logs := observer.New(zap.InfoLevel)
	for start := range 2 {
		r := storetest.Open(t, storetest.Settings{Path: k.file(""), Logger: zap.New(core)})
		told := logs.FilterLevelExact(zap.ErrorLevel).FilterField(zap.String("found", "the registry is new, though one with 30 changes was here"))
		require.Len(t, told.All(), start+1, "once a start")
		require.NoError(t, r.Close())
	}
	r := storetest.Open(t, storetest.Settings{Path: k.file(""), Logger: zap.New(core)})
	require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "the disk was replaced", Actor: "ann"}))
	require.Len(t, logs.FilterField(zap.String("actor", "ann")).FilterField(zap.String("reason", "the disk was replaced")).All(), 1)
	var by, reason string
	require.NoError(t, r.Query(t, "SELECT acknowledged_by, reason FROM losses").Scan(&by, &reason))
	require.Equal(t, []string{"ann", "the disk was replaced"}, []string{by, reason})
}

func TestWhoApprovedAPlanIsKeptAsTheOneWhoAcknowledgedTheLoss(t *testing.T) {
	t.Parallel()
	r := storetest.Open(t, storetest.Settings{Now: storetest.NewClock().Now})
	for i, actor := range []string{"", "ann"} {
		r.Lose(t, "it was lost", storetest.T0)
		require.NoError(t, r.RecordReconcile(t.Context(), storemanager.ReconcileRun{
			RunID: fmt.Sprint(i), StartedAt: storetest.T0, CompletedAt: storetest.T0, ApprovedListAt: new(storetest.At(1)), Actor: actor,
		}))
	}
	var by, why string
	require.NoError(t, r.Query(t, "SELECT group_concat(acknowledged_by, '; '), group_concat(reason, '; ') FROM (SELECT * FROM losses ORDER BY rowid)").Scan(&by, &why))
	require.Equal(t, "whoever approved it; ann", by)
	require.Equal(t, "the approved plan of run 0; the approved plan of run 1", why)
}

func TestALossIsFoundAgainUntilItIsKept(t *testing.T) {
	t.Parallel()
	k := kill(t, stores)
	k.remove(t, "")
	for range 2 {
		db, err := sqlite.Open(t.Context(), k.file(""), nil)
		require.NoError(t, err)
		errFull := errors.New("the disk is full")
		require.Equal(t, errFull, db.Check(t.Context(), func(tx registry.Tx, found string) error {
			require.NoError(t, tx.NoteLoss(t.Context(), found, storetest.T0))
			return errFull
		}))
		require.NoError(t, db.Close())
	}
	requireLost(t, k.open(t))
}

func TestTheFilesAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	k := killed{dir}
	requireTight := func() {
		t.Helper()
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			want := fs.FileMode(0o600)
			if d.IsDir() {
				want = 0o700
			}
			require.Equal(t, want, info.Mode().Perm(), path)
			return nil
		}))
	}
	r := k.open(t)
	ensureEach(t, r, 0, 1)
	require.FileExists(t, k.file("-wal"))
	require.FileExists(t, k.mark())
	requireTight()
	old := copied(t, k) // as earlier versions left it
	require.NoError(t, r.Close())
	requireTight()

	k, dir = old, old.dir
	require.NoError(t, os.Chmod(dir, 0o700))
	for _, suffix := range []string{"", "-wal", ".lock"} {
		require.NoError(t, os.Chmod(k.file(suffix), 0o644))
	}
	require.NoError(t, os.Chmod(k.mark(), 0o644))
	r = k.open(t)
	ensureEach(t, r, 1, 1)
	requireTight()
}

func TestAfterACleanStopAllIsInTheFileAlone(t *testing.T) {
	t.Parallel()
	k := killed{t.TempDir()}
	r := k.open(t)
	ensureEach(t, r, 0, stores)
	tx, err := r.Read.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	var n int
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM stores").Scan(&n), "somebody reads on")
	require.NoError(t, r.Close())

	alone := killed{t.TempDir()}
	content, err := os.ReadFile(k.file(""))
	require.NoError(t, err)
	write(t, alone.file(""), string(content))
	for _, k := range []killed{k, alone} {
		page, err := k.open(t).List(t.Context(), storemanager.ListRequest{})
		require.NoError(t, err)
		require.Len(t, page.Stores, stores)
	}
}

func TestTheLogStaysSmallThoughSomebodyAlwaysReads(t *testing.T) {
	t.Parallel()
	k := killed{t.TempDir()}
	r := k.open(t)
	execute := func(statement string) {
		r.Exec(t, statement)
	}
	execute("CREATE TABLE ballast (content)")
	size := func() int64 {
		info, err := os.Stat(k.file("-wal"))
		require.NoError(t, err)
		return info.Size()
	}
	// Each reader begins before the one before it ends.
	read := func() func() {
		tx, err := r.Read.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		var n int
		require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT count(*) FROM stores").Scan(&n))
		return func() { require.NoError(t, tx.Rollback()) }
	}
	end := read()
	for range 30 {
		execute("DELETE FROM ballast")
		execute("INSERT INTO ballast VALUES (zeroblob(1000000))") // as many pages as random ones, which cost seconds with the race detector
		next := read()
		end()
		end = next
	}
	require.Greater(t, size(), int64(sqlite.MaxLog), "SQLite alone lets it grow")
	end()
	end = read()
	defer func() { end() }()
	require.Eventually(t, func() bool {
		next := read()
		end()
		end = next
		return size() <= sqlite.LogSize
	}, patience, 50*time.Millisecond)
}

func TestAFileThatIsReplacedWhileItIsOpenTakesNoMoreChanges(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(t *testing.T, k killed){
		"deleted":  func(t *testing.T, k killed) { k.remove(t, "") },
		"replaced": func(t *testing.T, k killed) { require.NoError(t, os.Rename(kill(t, 3).file(""), k.file(""))) },
		"put back": func(t *testing.T, k killed) { execute(t, k.file(""), "UPDATE totals SET changes = changes - 5") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := killed{t.TempDir()}
			r := k.open(t)
			ensureEach(t, r, 0, stores)
			replace(t, k)
			n := stores
			require.Eventually(t, func() bool {
				n++
				_, err := r.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("store-%d", n), At: storetest.T0})
				return err != nil
			}, patience, 20*time.Millisecond)
			require.ErrorContains(t, r.Ping(t.Context()), "restarted")
			_, err := r.Overview(t.Context())
			require.ErrorContains(t, err, "restarted")
			require.NoError(t, r.Close())
			requireLost(t, k.open(t))
		})
	}
}

func TestTheMarkIsMadeAgainWhereItWasDeleted(t *testing.T) {
	t.Parallel()
	k := killed{t.TempDir()}
	r := k.open(t)
	ensureEach(t, r, 0, stores)
	require.NoError(t, os.Remove(k.mark()))
	require.Eventually(t, func() bool { _, err := os.Stat(k.mark()); return err == nil }, patience, 20*time.Millisecond)
	require.NoError(t, r.Close())
	k.remove(t, "")
	require.Contains(t, requireLost(t, k.open(t)).Reason, "one with 30 changes")
}

const patience = 20 * time.Second
