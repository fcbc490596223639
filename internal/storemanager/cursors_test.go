package storemanager

import (
	"context"
	"fmt"
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
	c := newCursors(b.registry.Registry, zap.NewNop())
	for i := range 3 * cursorChunk {
		c.set(fmt.Sprintf("store-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	got, err := c.get(t.Context(), "store-7")
	require.NoError(t, err)
	require.Equal(t, livestore.Cursor{BackendID: "B", Seq: 7}, got)
	kept, err := b.registry.Cursor(t.Context(), "store-7")
	require.NoError(t, err)
	require.Zero(t, kept, "not written yet")

	ctx, cancel := context.WithCancel(t.Context())
	cancel() // run writes once more
	c.run(ctx)
	for _, i := range []int{0, 7, 3*cursorChunk - 1} {
		kept, err := b.registry.Cursor(t.Context(), fmt.Sprintf("store-%d", i))
		require.NoError(t, err)
		require.Equal(t, Cursor{BackendID: "B", Seq: int64(i)}, kept)
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
		kept, err := m.registry.Cursor(t.Context(), id)
		require.NoError(t, err)
		return kept.Seq == 5
	}, patience, time.Millisecond, "written without being told to")

	// Of a process that is killed now nothing but the file is left.
	require.NoError(t, m.registry.SetCursors(t.Context(), map[string]Cursor{id: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.Close())
	require.NoError(t, m.registry.SetCursors(t.Context(), map[string]Cursor{id: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.registry.Close())
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
	m.faults.writes.Store(true)
	m.push(id, 4)
	m.arrives(id)
	const others = 2000
	for i := range others {
		m.cursors.set(fmt.Sprintf("other-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	failed := func() int { return logs.FilterMessage("cursors not written, trying again").Len() }
	require.Eventually(t, func() bool { return failed() > 0 }, patience, time.Millisecond)
	require.Contains(t, logs.All()[0].ContextMap()["error"], "full")
	m.push(id, 5)
	m.arrives(id)
	require.Equal(t, ConnectionConnected, m.store(id).Connection, "events go on")

	m.faults.writes.Store(false)
	require.Eventually(t, func() bool {
		kept, err := m.registry.Cursor(t.Context(), fmt.Sprintf("other-%d", others-1))
		return err == nil && kept.Seq == others-1
	}, patience, time.Millisecond)
	m.restart()
	m.push(id, 1)
	m.arrives(id)
	require.Equal(t, upTo(13), m.events.seqs(id))
}
