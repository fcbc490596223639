package sqlite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
)

func TestARegistryOfAnEarlierVersionIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	for version := 1; version < len(sqlite.Migrations); version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Parallel()
			path := t.TempDir() + "/registry.db"
			// All columns of the first version's stores are those of today.
			execute(t, path, strings.Join(sqlite.Migrations[:version], ";")+fmt.Sprintf(`;
				INSERT INTO stores (id, tombstone_at, event_at, created_by, first_monitored_at, last_ensured_at, last_stopped_at, missing_since,
					pinned, deletion_event_at, delete_at, deletion_owner, cancelled_event_at, stopped_by, hold_since, hold_expires_at, hold_reason,
					hold_actor) VALUES ('%s', NULL, 1000000, '', 1, 1, NULL, NULL, 0, NULL, NULL, '', NULL, '', NULL, NULL, '', '');
				UPDATE totals SET provisioned = 1; PRAGMA application_id = %d; PRAGMA user_version = %d`, storetest.ID, sqlite.ApplicationID, version))

			r := storetest.Open(t, storetest.Settings{Path: path})
			now, err := sqlite.SchemaVersion(t.Context(), r.Write)
			require.NoError(t, err)
			require.Equal(t, len(sqlite.Migrations), now)
			s, err := r.Get(t.Context(), storetest.ID)
			require.NoError(t, err)
			require.Equal(t, storemanager.StateMonitored, s.State)
			require.Empty(t, s.History)
			o, err := r.Overview(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, o.Monitored)
			require.Nil(t, o.Guard)
			require.NoError(t, r.SetCursors(t.Context(), map[string]registry.Cursor{storetest.ID: {BackendID: "B", Seq: 1}}))
			_, err = r.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: storetest.ID, Reason: "r", Actor: "a"}})
			require.NoError(t, err)
			s, err = r.Get(t.Context(), storetest.ID)
			require.NoError(t, err)
			require.NotNil(t, s.Pause)
			require.Len(t, s.History, 1)
		})
	}
}

func TestDeliveriesOfAnEarlierVersionAreCounted(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/registry.db"
	execute(t, path, strings.Join(sqlite.Migrations[:5], ";")+fmt.Sprintf(`;
		INSERT INTO deliveries VALUES ('a', 1, '', 200, '{}'), ('b', 1, '', 200, '{}');
		PRAGMA application_id = %d; PRAGMA user_version = 5`, sqlite.ApplicationID))
	n, err := storetest.Open(t, storetest.Settings{Path: path}).Count(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
}
