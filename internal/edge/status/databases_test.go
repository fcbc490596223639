package status

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/dbfile"
)

func TestHealthWarnsOfAFullDiskAndOfAReplacedDatabase(t *testing.T) {
	t.Parallel()
	f := setup(t)
	warned := func(trusted bool) (warnings []any) {
		t.Helper()
		var headers []string
		if trusted {
			headers = []string{"Authorization", "Bearer " + token}
		}
		answer := f.Do(t, http.MethodGet, "/health", "", headers...)
		require.Equal(t, 200, answer.Status, answer.Body)
		return answer.JSON(t)["warnings"].([]any)
	}
	require.Empty(t, warned(true))

	const gib = 1 << 30
	d := Databases{Usage: []dbfile.Usage{{Name: "registry", DiskFree: 10 * gib, DiskSize: 200 * gib}, {Name: "temporal", DiskFree: 10 * gib, DiskSize: 99 * gib}}}
	f.databases = func() Databases { return d }
	require.Empty(t, warned(true), "10 GiB are enough, and so is a tenth")
	d.Usage[1].DiskFree--
	require.Empty(t, warned(true), "a tenth of 99 GiB is free")
	d.Usage[0].DiskFree--
	require.Equal(t, []any{"disk: 4 % of the file system of the database registry is free, 10239 MiB of 204800"}, warned(false))

	d = Databases{Replaced: &ReplacedDatabase{At: time.Now().Add(-23 * time.Hour), Version: "1.31.2", SetAside: "/data/temporal-1.31.2-20261127T000000Z.db"}}
	require.Len(t, warned(false), 1)
	require.Contains(t, warned(false)[0], "temporal: its database was of another version (1.31.2), and was replaced by a new one at ")
	require.NotContains(t, warned(false)[0], "20261127T000000Z.db")
	require.Contains(t, warned(true)[0], "; the old one is temporal-1.31.2-20261127T000000Z.db")
	d.Replaced.At = time.Now().Add(-25 * time.Hour)
	require.Empty(t, warned(true), "that is no news any more")
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
		require.Equal(t, tc.low, low(dbfile.Usage{DiskFree: tc.free, DiskSize: tc.size}), tc)
	}
}
