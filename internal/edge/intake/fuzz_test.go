package intake

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/storemanager"
)

// FuzzEvent: whatever body comes, it is refused with a sentence of ours, or it is an event that says what encoding/json reads too.
func FuzzEvent(f *testing.F) {
	for _, body := range []string{
		event("workspace.created"), event("workspace.deleted"), "", "null", "[]", `{"event":"workspace.created","event":"workspace.deleted"}`,
		`{"event":"workspace.created","instanceId":"../..","userId":"u","timestamp":"2025-11-23T18:29:10Z"}`,
		`{"event":"workspace.created","instanceId":"abc","userId":"u","timestamp":"2025-11-23t18:29:10.1z","more":[[[]]]}`,
		"{\"event\":\"workspace.created\",\"userId\":\"\xff\"}", "\ufeff{}", strings.Replace(event("workspace.created"), "18:29:10.028Z", "23:59:60Z", 1),
	} {
		f.Add([]byte(body))
	}
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		ev, refused := parseEvent(body, now)
		if refused != nil {
			require.Equal(t, problem.KindInvalid, refused.Kind)
			require.True(t, utf8.ValidString(refused.Message))
			require.Equal(t, contract.Event{}, ev)
			return
		}
		read := map[string]any{}
		require.NoError(t, json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &read))
		require.Equal(t, read["instanceId"], ev.InstanceID)
		require.Equal(t, read["event"], string(ev.Type))
		require.Equal(t, read["userId"], ev.UserID)
		require.True(t, storemanager.ValidID(ev.InstanceID))
		require.Contains(t, []contract.EventType{contract.WorkspaceCreated, contract.WorkspaceDeleted}, ev.Type)
		require.NotEmpty(t, ev.UserID)
		require.LessOrEqual(t, len(ev.UserID), maxUserID)
		require.False(t, ev.Timestamp.Before(earliest) || ev.Timestamp.After(now.Add(maxClockLead)), ev.Timestamp)
		require.Equal(t, time.UTC, ev.Timestamp.Location())
	})
}
