package storemanager

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/livestore"
)

func TestCursorsAreWrittenTogetherAndReadBackBeforeThat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := newCursors(b.registry, zap.NewNop())
	for i := range 3 * cursorChunk {
		c.set(fmt.Sprintf("store-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	got, err := c.get(t.Context(), "store-7")
	require.NoError(t, err)
	require.Equal(t, livestore.Cursor{BackendID: "B", Seq: 7}, got)
	kept, err := b.registry.cursor(t.Context(), "store-7")
	require.NoError(t, err)
	require.Zero(t, kept, "not written yet")

	ctx, cancel := context.WithCancel(t.Context())
	cancel() // run writes once more
	c.run(ctx)
	for _, i := range []int{0, 7, 3*cursorChunk - 1} {
		kept, err := b.registry.cursor(t.Context(), fmt.Sprintf("store-%d", i))
		require.NoError(t, err)
		require.Equal(t, livestore.Cursor{BackendID: "B", Seq: int64(i)}, kept)
	}
	none, err := c.get(t.Context(), "never-seen")
	require.NoError(t, err)
	require.Zero(t, none)
}

func TestACrashMakesOnlyTheEventsSinceTheLastWriteComeAgain(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.ensure(id)
	m.push(id, 5)
	m.arrives(id)
	require.Eventually(t, func() bool {
		kept, err := m.cursor(t.Context(), id)
		require.NoError(t, err)
		return kept.Seq == 5
	}, patience, time.Millisecond, "written without being told to")

	// Of a process that is killed now nothing but the file is left.
	require.NoError(t, m.setCursors(t.Context(), map[string]livestore.Cursor{id: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.Close())
	require.NoError(t, m.setCursors(t.Context(), map[string]livestore.Cursor{id: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.Registry.Close())
	m.start()
	m.push(id, 2)
	m.arrives(id)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 4, 5, 6, 7}, m.events.seqs(id))
}

func backendOf(t *testing.T, m *monitored) string {
	t.Helper()
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	require.NotEmpty(t, m.events.batches[id])
	return m.events.batches[id][0].BackendID
}

func TestAFullDiskDelaysCursorsAndLosesNone(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	m := supervise(t, func(o *MonitorOptions) { o.Logger = zap.New(core) })
	m.ensure(id)
	m.push(id, 3)
	m.arrives(id)
	fillDisk(t, m.Registry)
	m.push(id, 4)
	m.arrives(id)
	const others = 2000 // more than there is room for
	for i := range others {
		m.cursors.set(fmt.Sprintf("other-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	failed := func() int { return logs.FilterMessage("cursors not written, trying again").Len() }
	require.Eventually(t, func() bool { return failed() > 0 }, patience, time.Millisecond)
	require.Contains(t, logs.All()[0].ContextMap()["error"], "full")
	m.push(id, 5)
	m.arrives(id)
	require.Equal(t, ConnectionConnected, m.store(id).Connection, "events go on")

	_, err := m.write.ExecContext(t.Context(), `PRAGMA max_page_count = 1000000`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		kept, err := m.cursor(t.Context(), fmt.Sprintf("other-%d", others-1))
		return err == nil && kept.Seq == others-1
	}, patience, time.Millisecond)
	m.restart()
	m.push(id, 1)
	m.arrives(id)
	require.Equal(t, upTo(13), m.events.seqs(id))
}

// fillDisk makes SQLite take the disk for full, and fills the pages that it has.
func fillDisk(t *testing.T, r *Registry) {
	t.Helper()
	_, err := r.write.ExecContext(t.Context(), `PRAGMA max_page_count = 1`) // it goes down to what is in use
	require.NoError(t, err)
	for i := 0; ; i++ {
		_, err := r.Ensure(t.Context(), EnsureRequest{StoreID: fmt.Sprintf("filler-%d", i), At: time.Now(), RequestID: string(make([]byte, maxText))})
		if err != nil {
			require.ErrorContains(t, err, "full")
			return
		}
	}
}

func TestAPrunedTombstoneTakesItsCursorAlong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cursor := livestore.Cursor{BackendID: "B", Seq: 7}
	require.Equal(t, EnsureCreated, b.ensure(t, 1))
	require.NoError(t, b.registry.setCursors(t.Context(), map[string]livestore.Cursor{id: cursor}))
	require.Equal(t, DeletionScheduled, b.begin(t, 2, "run"))
	b.clock.Set(at(100))
	require.Equal(t, StopStopped, b.stop(t, "run"))
	kept, err := b.registry.cursor(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, cursor, kept, "a store that comes back goes on from there")

	b.clock.Set(at(100).Add(defaultTombstoneRetention + time.Second))
	_, err = b.BeginDeletion(t.Context(), DeletionRequest{StoreID: "another-one", At: at(200), DeleteAt: at(200), Owner: "run"})
	require.NoError(t, err)
	kept, err = b.registry.cursor(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, kept)
}

func TestARegistryOfAnEarlierVersionIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	for version := 1; version < len(migrations); version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			path := t.TempDir() + "/registry.db"
			// All columns of the first version's stores are those of today.
			execute(t, path, strings.Join(migrations[:version], ";")+fmt.Sprintf(`;
				INSERT INTO stores (id, tombstone_at, event_at, created_by, first_monitored_at, last_ensured_at, last_stopped_at, missing_since,
					pinned, deletion_event_at, delete_at, deletion_owner, cancelled_event_at, stopped_by, hold_since, hold_expires_at, hold_reason,
					hold_actor) VALUES ('%s', NULL, 1000000, '', 1, 1, NULL, NULL, 0, NULL, NULL, '', NULL, '', NULL, NULL, '', '');
				UPDATE totals SET provisioned = 1; PRAGMA application_id = %d; PRAGMA user_version = %d`, id, applicationID, version))

			r := open(t, Options{Path: path})
			now, err := schemaVersion(t.Context(), r.write)
			require.NoError(t, err)
			require.Equal(t, len(migrations), now)
			s, err := r.Get(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, StateMonitored, s.State)
			require.Empty(t, s.Events)
			o, err := r.Overview(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, o.Monitored)
			require.Nil(t, o.Guard)
			require.NoError(t, r.setCursors(t.Context(), map[string]livestore.Cursor{id: {BackendID: "B", Seq: 1}}))
			_, err = r.Pause(t.Context(), Pause{StoreID: id, Reason: "r", Actor: "a"})
			require.NoError(t, err)
			s, err = r.Get(t.Context(), id)
			require.NoError(t, err)
			require.NotNil(t, s.Pause)
			require.Len(t, s.Events, 1)
		})
	}
}
