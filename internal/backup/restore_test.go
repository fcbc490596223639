package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/dbfile"
	"storekeeper/tests/proctest"
)

// restoreEnv makes the test binary a process that restores that backup, and tells each step before it waits to be told to go on.
const restoreEnv = "BACKUP_RESTORE_FROM"

func TestMain(m *testing.M) {
	from := os.Getenv(restoreEnv)
	if from == "" {
		os.Exit(m.Run())
	}
	steps := 0
	backup.SetStep(func(what string) {
		steps++
		if fmt.Sprint(steps) == os.Getenv("BACKUP_STOP_AT") {
			fmt.Println(what)
			select {} // until it is killed
		}
	})
	_, err := backup.Restore(context.Background(), backup.RestoreOptions{From: from, To: os.Getenv("BACKUP_RESTORE_TO"), Files: order, SetAside: true, MaxSchema: 10})
	fmt.Println("restored", err)
}

func restore(t *testing.T, from, to string, with ...func(*backup.RestoreOptions)) (backup.Restored, error) {
	t.Helper()
	o := backup.RestoreOptions{From: from, To: to, Files: order, MaxSchema: 10}
	for _, apply := range with {
		apply(&o)
	}
	return backup.Restore(t.Context(), o)
}

func settingAside(o *backup.RestoreOptions) { o.SetAside = true }

// old is a data directory in which everything is.
func old(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range oldFiles {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("old "+name), 0o600))
	}
	return dir
}

var oldFiles = []string{
	"registry-mark-of-stores.db", "stores.db", "stores.db-shm", "stores.db-wal", "temporal-visibility.db", "temporal-visibility.db-wal", "temporal.db", "temporal.db-wal",
}

// requireRestored wants the backup in place in dir, and all that was there in the one folder aside.
func requireRestored(t *testing.T, dir string) {
	t.Helper()
	aside, err := filepath.Glob(filepath.Join(dir, backup.AsideDir+"*"))
	require.NoError(t, err)
	require.Len(t, aside, 1)
	require.ElementsMatch(t, append([]string{filepath.Base(aside[0])}, order...), namesIn(t, dir))
	requireContents(t, dir)
	require.Equal(t, oldFiles, namesIn(t, aside[0]))
	requireOld(t, aside[0])
}

func requireContents(t *testing.T, dir string) {
	t.Helper()
	for _, name := range order {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, contents[name], string(content), name)
	}
}

func requireOld(t *testing.T, dir string) {
	t.Helper()
	for _, name := range oldFiles {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, "old "+name, string(content))
	}
}

func TestABackupIsRestoredIntoANewFolder(t *testing.T) {
	t.Parallel()
	from, to := made(t, contents), filepath.Join(t.TempDir(), "new", "data")
	r, err := restore(t, from, to)
	require.NoError(t, err)
	require.Equal(t, []any{order, ""}, []any{r.Files, r.SetAside})
	require.ElementsMatch(t, order, namesIn(t, to))
	requireContents(t, to)
	require.ElementsMatch(t, append([]string{backup.ManifestFile}, order...), namesIn(t, from), "the backup stays")
	finished, err := backup.Finish(to)
	require.NoError(t, err)
	require.False(t, finished, "there is nothing left to do")
}

func TestWhatIsThereIsSetAsideWhenToldAndElseRefused(t *testing.T) {
	t.Parallel()
	from, to := made(t, contents), old(t)
	_, err := restore(t, from, to)
	require.ErrorContains(t, err, "has databases already")
	require.ErrorContains(t, err, "--set-aside")
	require.Equal(t, oldFiles, namesIn(t, to))
	requireOld(t, to)
	r, err := restore(t, from, to, settingAside)
	require.NoError(t, err)
	require.DirExists(t, r.SetAside)
	requireRestored(t, to)
}

func TestWhatTheBackupLacksStaysAsItIs(t *testing.T) {
	t.Parallel()
	from, to := made(t, map[string]string{backup.Registry: contents[backup.Registry]}), old(t)
	require.NoError(t, os.WriteFile(filepath.Join(to, "others"), nil, 0o600))
	r, err := restore(t, from, to, settingAside)
	require.NoError(t, err)
	require.Equal(t, []string{backup.Registry}, r.Files)
	require.ElementsMatch(t, []string{
		filepath.Base(r.SetAside), "others", "stores.db", "temporal-visibility.db", "temporal-visibility.db-wal", "temporal.db", "temporal.db-wal",
	}, namesIn(t, to))
	require.ElementsMatch(t, []string{"registry-mark-of-stores.db", "stores.db", "stores.db-shm", "stores.db-wal"}, namesIn(t, r.SetAside), "the mark goes along")

	_, err = restore(t, from, t.TempDir(), func(o *backup.RestoreOptions) { o.Files = []string{backup.Temporal} })
	require.ErrorContains(t, err, "none of the files that are wanted")
}

// A backup of Temporal in one file has no lists, and those that are there are of other executions.
func TestListsAreSetAsideWithTheirExecutions(t *testing.T) {
	t.Parallel()
	from, to := made(t, map[string]string{backup.Temporal: "t", backup.Registry: "r"}), old(t)
	_, err := restore(t, from, to, settingAside)
	require.NoError(t, err)
	require.NoFileExists(t, filepath.Join(to, backup.TemporalVisibility))
}

func TestABackupThatIsNotWholeChangesNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, dir string)
		said  string
	}{
		"a bit":  {func(t *testing.T, dir string) { flip(t, filepath.Join(dir, backup.Temporal)) }, "temporal.db is not as it was written"},
		"a file": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, backup.Registry))) }, "stores.db is missing"},
		"the end": {func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, backup.Registry), 10))
		}, "it has 10 bytes"},
		"the manifest": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, backup.ManifestFile))) }, "it is no backup, or one that was not finished"},
		"everything":   {func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) }, "it is no backup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := made(t, contents), old(t)
			tt.spoil(t, from)
			_, err := restore(t, from, to, settingAside)
			require.ErrorContains(t, err, tt.said)
			require.Equal(t, oldFiles, namesIn(t, to))
		})
	}
	from, to := made(t, contents), old(t)
	_, err := restore(t, from, to, settingAside, func(o *backup.RestoreOptions) { o.MaxSchema = 9 })
	require.ErrorContains(t, err, "a newer version of Storekeeper (v1) made it, whose registry has schema 10, and this one knows 9")
	require.Equal(t, oldFiles, namesIn(t, to))
}

func flip(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

func TestDatabasesThatAProcessHasOpenAreNotReplaced(t *testing.T) {
	t.Parallel()
	from := made(t, contents)
	for _, name := range []string{backup.Registry, backup.Temporal} {
		to := old(t)
		lock, err := dbfile.Lock(filepath.Join(to, name))
		require.NoError(t, err)
		_, err = restore(t, from, to, settingAside)
		require.ErrorContains(t, err, "another process has "+filepath.Join(to, name)+" open")
		require.Equal(t, oldFiles, namesIn(t, to))
		require.NoError(t, lock.Close())
	}
}

func TestALinkIsNotReplaced(t *testing.T) {
	t.Parallel()
	from, to := made(t, contents), t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(old(t), "stores.db"), filepath.Join(to, "stores.db")))
	_, err := restore(t, from, to, settingAside)
	require.ErrorContains(t, err, "is no plain file")
}

// kill -9 after each step of a restore.
func TestAfterAKillTheOldIsThereOrTheNextStartPutsTheNewInPlace(t *testing.T) {
	t.Parallel()
	from := made(t, contents)
	finishedOnes := 0
	for stop, more := 1, true; more; stop++ {
		to := old(t)
		child := proctest.StartSelf(t, restoreEnv+"="+from, "BACKUP_RESTORE_TO="+to, fmt.Sprintf("BACKUP_STOP_AT=%d", stop))
		at, ok := child.Next()
		require.True(t, ok)
		if more = !strings.HasPrefix(at, "restored"); !more {
			require.Equal(t, "restored <nil>", at)
			require.NoError(t, child.Wait())
			requireRestored(t, to)
			break
		}
		child.Kill()
		finished, err := backup.Finish(to)
		require.NoError(t, err)
		if finished {
			finishedOnes++
		}
		switch at {
		case "staged":
			require.False(t, finished)
			require.Equal(t, oldFiles, namesIn(t, to))
			requireOld(t, to)
		case "done":
			requireContents(t, to)
		default:
			require.True(t, finished, at)
			requireRestored(t, to)
		}
		t.Logf("%d: killed when it was: %s", stop, at)
	}
	require.Greater(t, finishedOnes, 10, "it was killed in the middle")
}
