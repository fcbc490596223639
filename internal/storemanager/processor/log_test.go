package processor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager/storetest"
)

// stopped is a zapcore.Clock that does not move on.
type stopped struct{ *storetest.Clock }

func (stopped) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }

func setupLogProcessor(level zapcore.Level) (*Log, *storetest.Clock, *observer.ObservedLogs) {
	core, lines := observer.New(level)
	now := storetest.NewClock()
	return NewLog(zap.New(core, zap.WithClock(stopped{now}))), now, lines
}

func TestTheLogTellsOfABatchButNotOfArguments(t *testing.T) {
	t.Parallel()
	p, _, lines := setupLogProcessor(zap.InfoLevel)
	require.NoError(t, p.Process(t.Context(), Batch{"store-1", "backend-1", []livestore.Event{
		{Name: "v1.A", Seq: 4, Args: json.RawMessage(`{"password":"in the arguments"}`)},
		{Name: "v1.B", Seq: 5, Parent: 4},
		{Name: "v1.A", Seq: 6, Parent: 5},
	}}))
	p.Stop("store-1")

	require.Equal(t, 1, lines.Len())
	line := lines.All()[0]
	require.Equal(t, "events received", line.Message)
	require.Equal(t, zap.InfoLevel, line.Level)
	require.Equal(t, map[string]any{
		"storeId": "store-1", "backendId": "backend-1", "events": int64(3), "first": int64(4), "last": int64(6),
		"names": []any{"v1.A", "v1.B"},
	}, line.ContextMap())
}

func TestNamesInTheLogAreBounded(t *testing.T) {
	t.Parallel()
	p, _, lines := setupLogProcessor(zap.InfoLevel)
	b := Batch{"store-1", "backend-1", nil}
	for n := range 100 {
		b.Events = append(b.Events, livestore.Event{Name: fmt.Sprintf("%d%s", n, strings.Repeat("x", 1<<16)), Seq: int64(n + 1)})
	}
	require.NoError(t, p.Process(t.Context(), b))
	names := lines.All()[0].ContextMap()["names"].([]any)
	require.Len(t, names, loggedNames)
	for _, name := range names {
		require.Len(t, name, loggedNameLength)
	}
}

func TestBusyStoresDoNotFloodTheLog(t *testing.T) {
	t.Parallel()
	p, now, lines := setupLogProcessor(zap.InfoLevel)
	aSecondOf := func(batches int) int {
		for n := range batches {
			b := Batch{fmt.Sprintf("store-%d", n), "backend-1", []livestore.Event{{Name: "v1.A", Seq: 1}}}
			require.NoError(t, p.Process(t.Context(), b))
		}
		return len(lines.TakeAll())
	}
	require.Equal(t, 7, aSecondOf(7))
	now.Set(storetest.At(1))
	require.Equal(t, loggedBatches, aSecondOf(5000))
	now.Set(storetest.At(2))
	require.Equal(t, loggedBatches, aSecondOf(5000), "the next second has lines of its own")
}

func TestNothingIsLoggedBelowTheLevel(t *testing.T) {
	t.Parallel()
	p, _, lines := setupLogProcessor(zap.WarnLevel)
	require.NoError(t, p.Process(t.Context(), Batch{"store-1", "backend-1", []livestore.Event{{Name: "v1.A", Seq: 1}}}))
	require.Zero(t, lines.Len())
}
