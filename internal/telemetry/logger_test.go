package telemetry_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/proctest"
)

func TestALoggerWritesAsItsLevelAndFormatSay(t *testing.T) {
	t.Parallel()

	t.Run("an unknown level or format is refused", func(t *testing.T) {
		t.Parallel()
		_, err := telemetry.NewLogger("loud", "json", &bytes.Buffer{}, nil)
		require.ErrorContains(t, err, "loud")
		_, err = telemetry.NewLogger("info", "xml", &bytes.Buffer{}, nil)
		require.ErrorContains(t, err, `"xml"`)
	})

	t.Run("auto writes JSON to what is no terminal", func(t *testing.T) {
		t.Parallel()
		out := &proctest.Log{}
		l, err := telemetry.NewLogger("info", "auto", out, nil)
		require.NoError(t, err)
		l.Debug("below the level")
		l.Info("store ensured", zap.String(telemetry.KeyStoreID, "abc"), zap.Duration(telemetry.KeyDurationMs, 1500*time.Millisecond))

		entries := logged(t, out)
		require.Len(t, entries, 1)
		require.Equal(t, "store ensured", entries[0]["msg"])
		require.Equal(t, "abc", entries[0]["storeId"])
		require.EqualValues(t, 1500, entries[0]["durationMs"])
		require.Contains(t, entries[0]["caller"], "telemetry/logger_test.go:")
		_, err = time.Parse(time.RFC3339Nano, entries[0]["time"].(string))
		require.NoError(t, err)
	})

	t.Run("console is for people", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		l, err := telemetry.NewLogger("info", "console", &out, nil)
		require.NoError(t, err)
		l.Info("ready")
		require.Regexp(t, `^\d\d:\d\d:\d\d\.\d{3}\tinfo\t.*\tready\n$`, out.String())
	})
}

func TestSDKLogger(t *testing.T) {
	t.Parallel()

	t.Run("what the interceptor says better is left out", func(t *testing.T) {
		t.Parallel()
		l, out := newLogger(t)
		telemetry.SDKLogger(l).Error("Activity error.")
		require.Empty(t, out.String())
	})

	t.Run("the SDK's keys become ours", func(t *testing.T) {
		t.Parallel()
		l, out := newLogger(t)
		sdk := log.With(telemetry.SDKLogger(l), "Namespace", "default", "TaskQueue", "q", "WorkerID", "w")
		sdk.Error("Workflow panic", "WorkflowID", "workspace/1", "RunID", "r", "ActivityID", "7", "Attempt", 3,
			"Error", errors.New("boom"), telemetry.KeyStoreID, "abc", "odd")

		entry := logged(t, out)[0]
		for key, want := range map[string]any{
			"level": "error", "msg": "Workflow panic", "namespace": "default", "taskQueue": "q", "workerId": "w",
			"workflowId": "workspace/1", "runId": "r", "activityId": "7", "attempt": 3.0, "error": "boom", "storeId": "abc",
			"keyWithoutValue": "odd",
		} {
			require.Equal(t, want, entry[key], key)
		}
	})

	t.Run("the caller is who called, with fields and with a skip", func(t *testing.T) {
		t.Parallel()
		l, out := newLogger(t)
		sdk := telemetry.SDKLogger(l)
		wrapper := func(l log.Logger) { log.Skip(l, 1).Info("skipped") }
		sdk.Debug("plain")
		log.With(sdk, "a", 1).Warn("with")
		wrapper(sdk)

		entries := logged(t, out)
		require.Len(t, entries, 3)
		for _, entry := range entries {
			require.Contains(t, entry["caller"], "telemetry/logger_test.go:")
		}
	})
}
