package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/dbfile"
)

// contents are those of the databases of a data directory; they are no databases: nothing here looks into them.
var contents = map[string]string{
	backup.TemporalVisibility: strings.Repeat("visibility ", 100), backup.Temporal: strings.Repeat("temporal ", 30_000), backup.Registry: strings.Repeat("registry ", 1000),
}

// order is the one in which they are copied.
var order = []string{backup.TemporalVisibility, backup.Temporal, backup.Registry}

// maker makes backups of a data directory with these files.
func maker(t *testing.T, files map[string]string) *backup.Maker {
	t.Helper()
	m := &backup.Maker{Dir: t.TempDir(), Version: "v1", Without: []string{"the moon"}}
	for _, name := range order {
		content, ok := files[name]
		if !ok {
			continue
		}
		path := filepath.Join(m.Dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		m.Sources = append(m.Sources, backup.Source{Name: name, Path: path, Copy: func(_ context.Context, to string) (backup.Contents, error) {
			return backup.Contents{Identity: name, Schema: 10, Rows: map[string]int64{"rows": 7}}, os.WriteFile(to, []byte(content), 0o600)
		}})
	}
	return m
}

func none(int64, int64) {}

// made is a backup in a new folder.
func made(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	archive, err := maker(t, files).Make(t.Context())
	require.NoError(t, err)
	_, err = backup.Receive(t.Context(), archive, dir, none)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	return dir
}

// namesIn are those of the files in dir, but for locks.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestWhatIsReceivedIsWhatWasMade(t *testing.T) {
	t.Parallel()
	m := maker(t, contents)
	archive, err := m.Make(t.Context())
	require.NoError(t, err)
	dir := t.TempDir() // empty
	var last, total int64
	got, err := backup.Receive(t.Context(), archive, dir, func(n, of int64) {
		require.GreaterOrEqual(t, n, last)
		last, total = n, of
	})
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	require.NoError(t, archive.Close(), "again")
	require.Equal(t, total, last)
	require.Equal(t, got.Bytes(), total)
	require.ElementsMatch(t, append([]string{backup.ManifestFile}, order...), namesIn(t, dir))
	read, err := backup.Read(dir)
	require.NoError(t, err)
	require.Equal(t, got, read)
	require.Equal(t, []string{"v1", "the moon"}, append([]string{read.Version}, read.Without...))
	for i, f := range read.Files {
		require.Equal(t, order[i], f.Name)
		require.Equal(t, backup.Contents{Identity: f.Name, Schema: 10, Rows: map[string]int64{"rows": 7}}, f.Contents)
		require.NoError(t, f.Verify(t.Context(), dir))
		content, err := os.ReadFile(filepath.Join(dir, f.Name))
		require.NoError(t, err)
		require.Equal(t, contents[f.Name], string(content))
		info, err := os.Stat(filepath.Join(dir, f.Name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(dbfile.Mode), info.Mode().Perm())
	}
	require.ElementsMatch(t, order, namesIn(t, m.Dir), "nothing is left where it was made")
}

func TestOneBackupIsMadeAtATime(t *testing.T) {
	t.Parallel()
	m := maker(t, contents)
	first, err := m.Make(t.Context())
	require.NoError(t, err)
	_, err = m.Make(t.Context())
	require.ErrorIs(t, err, backup.ErrUnderWay)
	require.NoError(t, first.Close(), "although nothing was read")
	second, err := m.Make(t.Context())
	require.NoError(t, err)
	require.NoError(t, second.Close())
	require.ElementsMatch(t, order, namesIn(t, m.Dir))
}

func TestABackupThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	m := maker(t, contents)
	left := filepath.Join(m.Dir, backup.WorkDir+"of-a-process-that-was-killed")
	require.NoError(t, os.Mkdir(left, 0o700))
	m.Sources[2].Copy = func(context.Context, string) (backup.Contents, error) {
		return backup.Contents{}, errors.New("it is damaged")
	}
	for range 2 { // the first one lets go
		_, err := m.Make(t.Context())
		require.ErrorContains(t, err, "copy stores.db: it is damaged")
	}
	m.Sources[2].Copy = func(_ context.Context, to string) (backup.Contents, error) {
		return backup.Contents{}, &os.PathError{Op: "write", Path: to, Err: syscall.ENOSPC}
	}
	_, err := m.Make(t.Context())
	require.ErrorIs(t, err, backup.ErrNoRoom)
	require.ElementsMatch(t, order, namesIn(t, m.Dir))
	_, err = (&backup.Maker{}).Make(t.Context())
	require.ErrorIs(t, err, backup.ErrNothingOnDisk)
}

// disk is a folder on a file system of its own.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("a disk of its own takes root's rights: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestCopiesThatWouldFillTheDiskOfTheDatabasesAreNotBegun(t *testing.T) {
	t.Parallel()
	m := maker(t, contents)
	m.Dir = disk(t, "60m")
	m.Sources[0].Path = filepath.Join(m.Dir, "database")
	require.NoError(t, os.WriteFile(m.Sources[0].Path, []byte("x"), 0o600))
	_, err := m.Make(t.Context())
	require.ErrorIs(t, err, backup.ErrNoRoom)
	require.ErrorContains(t, err, "are free")
}

func TestAFullDiskLeavesNothingOfWhatWasReceived(t *testing.T) {
	t.Parallel()
	dir := disk(t, "64k")
	for _, to := range []string{dir, filepath.Join(dir, "new")} {
		archive, err := maker(t, contents).Make(t.Context())
		require.NoError(t, err)
		_, err = backup.Receive(t.Context(), archive, to, none)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, archive.Close())
		require.Empty(t, namesIn(t, dir))
	}
}

func TestAnInterruptionLeavesNothingOfWhatWasReceived(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	archive, err := maker(t, contents).Make(ctx)
	require.NoError(t, err)
	_, err = backup.Receive(ctx, archive, filepath.Join(parent, "backup"), func(int64, int64) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, archive.Close())
	require.Empty(t, namesIn(t, parent))
}

// sent is a backup as it is sent.
func sent(t *testing.T) []byte {
	t.Helper()
	archive, err := maker(t, contents).Make(t.Context())
	require.NoError(t, err)
	all, err := io.ReadAll(archive)
	require.NoError(t, err)
	require.NoError(t, archive.Close())
	return all
}

func TestABackupThatIsCutOffAnywhereLeavesNothing(t *testing.T) {
	t.Parallel()
	all := sent(t)
	for cut := 0; cut < len(all)-1024; cut += 5000 {
		parent := t.TempDir()
		_, err := backup.Receive(t.Context(), bytes.NewReader(all[:cut]), filepath.Join(parent, "backup"), none)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d of %d bytes", cut, len(all))
		require.Empty(t, namesIn(t, parent))
	}
}

func TestABackupThatIsNotAsItsManifestSaysIsNotKept(t *testing.T) {
	t.Parallel()
	tarOf := func(entries ...[2]string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range entries {
			require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e[0], Size: int64(len(e[1])), Mode: 0o600}))
			_, err := w.Write([]byte(e[1]))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	manifest := func(format int, name string) [2]string {
		return [2]string{backup.ManifestFile, fmt.Sprintf(`{"format":%d,"version":"v9","files":[{"name":%q,"bytes":3,"sha256":"00"}]}`, format, name)}
	}
	for name, tt := range map[string]struct {
		archive []byte
		said    string
	}{
		"another content":     {bytes.ReplaceAll(sent(t), []byte("registry registry"), []byte("registry rubbish!")), "stores.db is not as it was written"},
		"no manifest":         {tarOf([2]string{backup.Registry, "abc"}), "what comes is no backup"},
		"a newer format":      {tarOf(manifest(2, backup.Registry), [2]string{backup.Registry, "abc"}), "a newer version of Storekeeper (v9) made the backup"},
		"a path out of it":    {tarOf(manifest(1, "../stores.db"), [2]string{"../stores.db", "abc"}), "which is not expected there"},
		"another file":        {tarOf(manifest(1, backup.Registry), [2]string{backup.Temporal, "abc"}), "comes where stores.db was expected"},
		"a manifest of words": {tarOf([2]string{backup.ManifestFile, "words"}), "manifest.json can't be read"},
		"an empty manifest":   {tarOf([2]string{backup.ManifestFile, "{}"}), "says nothing of a backup"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			_, err := backup.Receive(t.Context(), bytes.NewReader(tt.archive), filepath.Join(parent, "backup"), none)
			require.ErrorContains(t, err, tt.said)
			require.Empty(t, namesIn(t, parent))
		})
	}
}

func TestAFolderThatIsNotEmptyIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	_, err := backup.Receive(t.Context(), bytes.NewReader(sent(t)), dir, none)
	require.ErrorIs(t, err, backup.ErrNotEmpty)
	require.Equal(t, []string{"mine"}, namesIn(t, dir))
	require.NoError(t, backup.CheckEmpty(filepath.Join(dir, "new")))
	require.ErrorIs(t, backup.CheckEmpty(filepath.Join(dir, "new", "new")), os.ErrNotExist)
}
