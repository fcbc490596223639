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

func TestADiskIsLowWhenLittleIsFreeAndThatIsASmallPart(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, tc := range []struct {
		free, size uint64
		low        bool
	}{
		{9 * gib, 100 * gib, true}, {10 * gib, 100 * gib, false}, {11 * gib, 1000 * gib, false}, {9 * gib, 1000 * gib, true}, {1 * gib, 5 * gib, false}, {0, 5 * gib, true},
	} {
		require.Equal(t, tc.low, dbfile.Usage{DiskFree: tc.free, DiskSize: tc.size}.Low(), tc)
	}
}
