package storemanager

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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

			r := Open(t, Settings{Path: path})
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
			require.NoError(t, r.SetCursors(t.Context(), map[string]Cursor{id: {BackendID: "B", Seq: 1}}))
			_, err = r.Pause(t.Context(), Pause{StoreID: id, Reason: "r", Actor: "a"})
			require.NoError(t, err)
			s, err = r.Get(t.Context(), id)
			require.NoError(t, err)
			require.NotNil(t, s.Pause)
			require.Len(t, s.Events, 1)
		})
	}
}

func TestDeliveriesOfAnEarlierVersionAreCounted(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/registry.db"
	execute(t, path, strings.Join(migrations[:5], ";")+fmt.Sprintf(`;
		INSERT INTO deliveries VALUES ('a', 1, '', 200, '{}'), ('b', 1, '', 200, '{}');
		PRAGMA application_id = %d; PRAGMA user_version = 5`, applicationID))
	o, err := Open(t, Settings{Path: path}).Overview(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, o.Deliveries)
}
