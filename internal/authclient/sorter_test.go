package authclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"storekeeper/internal/httpclient"
)

func newSorter(runBytes int, dir string) *sorter {
	return &sorter{runBytes: runBytes, create: func() (*tempFile, error) { return newTempFile(dir) }}
}

func noOneWaits() {}

func TestIDsAreSortedOnceEachHoweverManyRunsTheyTake(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.StringMatching(`[a-bZ][a-b_-]{2}|[a-b0-9][a-cA-C_-]{2,12}|[a-z][a-z0-9]{63}`)).Draw(t, "ids")
		s := newSorter(rapid.SampledFrom([]int{64, 100, 500, 1 << 20}).Draw(t, "run"), dir)
		defer s.discard()
		for _, id := range ids {
			require.NoError(t, s.add([]byte(id)))
		}
		sorted, err := s.finish(context.Background(), noOneWaits)
		require.NoError(t, err)
		defer sorted.release()
		want := slices.Sorted(maps.Keys(set(ids)))
		var got []string
		sorted.read(func(id string, err error) bool {
			require.NoError(t, err)
			got = append(got, id)
			return true
		})
		require.Equal(t, want, got)
		require.Equal(t, len(want), sorted.count)
	})
	requireEmpty(t, dir)
}

func set(ids []string) map[string]bool {
	m := map[string]bool{}
	for _, id := range ids {
		m[id] = true
	}
	return m
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// openFiles counts this process's open files whose name has the prefix.
func openFiles(t *testing.T, prefix string) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	n := 0
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// spillingCollector is a collector with little memory, in dir.
func spillingCollector(dir string) *collector {
	c := newCollector(dir, nil)
	c.sorter.runBytes = 1000
	return c
}

func addMany(c *collector, n int) error {
	for i := range n {
		if err := c.add(&entry{id: fmt.Appendf(nil, "id-%04d", i*7919%n), valid: true}); err != nil {
			return err
		}
	}
	return nil
}

func TestWhatIsOnDiskHasNoNameAndGoesWithItsLastReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := spillingCollector(dir)
	require.NoError(t, addMany(c, 1000))
	ids, err := c.sorter.finish(t.Context(), noOneWaits)
	require.NoError(t, err)
	requireEmpty(t, dir)
	require.Equal(t, 1, openFiles(t, dir), "the runs are gone")

	first := &Listing{Distinct: ids.count, ids: ids}
	second := first.again()
	for _, err := range first.All() {
		require.NoError(t, err)
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
		require.Equal(t, 1, openFiles(t, dir), "a reader still has it")
	}
	require.Zero(t, openFiles(t, dir))
	require.Nil(t, first.again())
}

func TestAListingCanBeReadSeveralTimesAtOnce(t *testing.T) {
	t.Parallel()
	c := spillingCollector(t.TempDir())
	require.NoError(t, addMany(c, 1000))
	ids, err := c.sorter.finish(t.Context(), noOneWaits)
	require.NoError(t, err)
	l := &Listing{ids: ids}
	defer func() { require.NoError(t, l.Close()) }()
	outer := 0
	for a, err := range l.All() {
		require.NoError(t, err)
		if outer++; outer%100 != 0 {
			continue
		}
		inner := 0
		for b, err := range l.All() {
			require.NoError(t, err)
			if inner++; inner == outer {
				require.Equal(t, a, b)
				break
			}
		}
	}
	require.Equal(t, 1000, outer)
}

func TestADiskThatIsFullFailsTheListAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	full := func() (*tempFile, error) {
		f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
		return &tempFile{File: f}, err
	}
	t.Run("while runs are written", func(t *testing.T) {
		t.Parallel()
		c := spillingCollector(dir)
		c.sorter.create = full
		require.ErrorIs(t, addMany(c, 1000), syscall.ENOSPC)
		c.sorter.discard()
	})
	t.Run("while they are merged", func(t *testing.T) {
		t.Parallel()
		c := spillingCollector(dir)
		require.NoError(t, addMany(c, 1000))
		c.sorter.create = full
		_, err := c.sorter.finish(t.Context(), noOneWaits)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "sorting the workspace list on disk")
	})
	t.Run("at the start of the merge", func(t *testing.T) {
		t.Parallel()
		c := spillingCollector(dir)
		require.NoError(t, addMany(c, 1000))
		c.sorter.create = func() (*tempFile, error) { return nil, syscall.EMFILE }
		_, err := c.sorter.finish(t.Context(), noOneWaits)
		require.ErrorIs(t, err, syscall.EMFILE)
	})
	t.Cleanup(func() {
		requireEmpty(t, dir)
		require.Zero(t, openFiles(t, dir))
	})
}

func TestAMergeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := spillingCollector(dir)
	require.NoError(t, addMany(c, 1000))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := c.sorter.finish(ctx, noOneWaits)
	require.ErrorIs(t, err, cause)
	requireEmpty(t, dir)
	require.Zero(t, openFiles(t, dir))
}

func TestAFileThatIsNoLongerWholeIsNotTakenForAList(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(f *os.File, size int64) error{
		"cut between two ids": func(f *os.File, _ int64) error { return f.Truncate(8 * 10) },
		"cut in an id":        func(f *os.File, size int64) error { return f.Truncate(size - 1) },
		"overwritten":         func(f *os.File, _ int64) error { _, err := f.WriteAt([]byte{200}, 0); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := spillingCollector(t.TempDir())
			require.NoError(t, addMany(c, 100))
			require.NoError(t, c.sorter.spillRun())
			ids, err := c.sorter.finish(t.Context(), noOneWaits)
			require.NoError(t, err)
			l := &Listing{ids: ids}
			defer func() { require.NoError(t, l.Close()) }()
			require.NoError(t, damage(ids.data.(*tempFile).File, ids.size))
			var last error
			for _, err := range l.All() {
				last = err
			}
			require.Error(t, last)
		})
	}
}

func TestASpillDirectoryThatIsMissingFailsOnlyListsThatNeedIt(t *testing.T) {
	t.Parallel()
	entries := 10
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"first"}`)
		for i := range entries {
			_, _ = fmt.Fprintf(w, `,{"instanceId":"%064d"}`, i)
		}
		_, _ = io.WriteString(w, `]}`)
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := New(Options{BaseURL: server.URL, Token: httpclient.Fixed("token"), HTTPClient: &http.Client{Transport: transport}, SpillDir: t.TempDir() + "/missing"})
	require.NoError(t, err)
	l, err := c.Sorted(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	entries = defaultRunBytes / 64
	_, err = c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}
