package monitor

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/storetest"
)

func TestCursorsAreWrittenTogetherAndReadBackBeforeThat(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	const chunk = 500 // what the registry keeps at once
	c := newCursors(b.Registry.Registry, zap.NewNop())
	for i := range 3 * chunk {
		c.set(fmt.Sprintf("store-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	got, err := c.get(t.Context(), "store-7")
	require.NoError(t, err)
	require.Equal(t, livestore.Cursor{BackendID: "B", Seq: 7}, got)
	kept, err := b.Registry.Cursor(t.Context(), "store-7")
	require.NoError(t, err)
	require.Zero(t, kept, "not written yet")

	ctx, cancel := context.WithCancel(t.Context())
	cancel() // run writes once more
	c.run(ctx)
	for _, i := range []int{0, 7, 3*chunk - 1} {
		kept, err := b.Registry.Cursor(t.Context(), fmt.Sprintf("store-%d", i))
		require.NoError(t, err)
		require.Equal(t, registry.Cursor{BackendID: "B", Seq: int64(i)}, kept)
	}
	none, err := c.get(t.Context(), "never-seen")
	require.NoError(t, err)
	require.Zero(t, none)
}

func TestACrashMakesOnlyTheEventsSinceTheLastWriteComeAgain(t *testing.T) {
	t.Parallel()
	m := supervise(t)
	m.ensure(storetest.ID)
	m.push(storetest.ID, 5)
	m.arrives(storetest.ID)
	require.Eventually(t, func() bool {
		kept, err := m.registry.Cursor(t.Context(), storetest.ID)
		require.NoError(t, err)
		return kept.Seq == 5
	}, patience, time.Millisecond, "written without being told to")

	// Of a process that is killed now nothing but the file is left.
	require.NoError(t, m.registry.SetCursors(t.Context(), map[string]registry.Cursor{storetest.ID: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.Close())
	require.NoError(t, m.registry.SetCursors(t.Context(), map[string]registry.Cursor{storetest.ID: {BackendID: backendOf(t, m), Seq: 3}}))
	require.NoError(t, m.registry.Close())
	m.start()
	m.push(storetest.ID, 2)
	m.arrives(storetest.ID)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 4, 5, 6, 7}, m.events.seqs(storetest.ID))
}

func backendOf(t *testing.T, m *monitored) string {
	t.Helper()
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	require.NotEmpty(t, m.events.batches[storetest.ID])
	return m.events.batches[storetest.ID][0].BackendID
}

func TestAFullDiskDelaysCursorsAndLosesNone(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	m := supervise(t, func(o *Options) { o.Logger = zap.New(core) })
	m.ensure(storetest.ID)
	m.push(storetest.ID, 3)
	m.arrives(storetest.ID)
	m.faults.writes.Store(true)
	m.push(storetest.ID, 4)
	m.arrives(storetest.ID)
	const others = 2000
	for i := range others {
		m.cursors.set(fmt.Sprintf("other-%d", i), livestore.Cursor{BackendID: "B", Seq: int64(i)})
	}
	failed := func() int { return logs.FilterMessage("cursors not written, trying again").Len() }
	require.Eventually(t, func() bool { return failed() > 0 }, patience, time.Millisecond)
	require.Contains(t, logs.All()[0].ContextMap()["error"], "full")
	m.push(storetest.ID, 5)
	m.arrives(storetest.ID)
	require.Equal(t, storemanager.ConnectionConnected, m.store(storetest.ID).Connection, "events go on")

	m.faults.writes.Store(false)
	require.Eventually(t, func() bool {
		kept, err := m.registry.Cursor(t.Context(), fmt.Sprintf("other-%d", others-1))
		return err == nil && kept.Seq == others-1
	}, patience, time.Millisecond)
	m.restart()
	m.push(storetest.ID, 1)
	m.arrives(storetest.ID)
	require.Equal(t, upTo(13), m.events.seqs(storetest.ID))
}
