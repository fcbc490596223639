package dbfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/dbfile"
)

func TestUsageIsThatOfTheFileAndItsLog(t *testing.T) {
	t.Parallel()
	d := dbfile.Database{Name: "registry", Path: filepath.Join(t.TempDir(), "some.db")}
	_, err := d.Usage()
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(d.Path, make([]byte, 1000), 0o600))
	for log, want := range map[int]int64{0: 1000, 234: 1234} {
		if log > 0 {
			require.NoError(t, os.WriteFile(d.Path+"-wal", make([]byte, log), 0o600))
		} else {
			_ = os.Remove(d.Path + "-wal")
		}
		u, err := d.Usage()
		require.NoError(t, err)
		require.Equal(t, "registry", u.Name)
		require.Equal(t, want, u.Bytes)
		require.Positive(t, u.DiskFree)
		require.GreaterOrEqual(t, u.DiskSize, u.DiskFree)
	}
}
