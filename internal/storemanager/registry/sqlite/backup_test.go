package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storetest"
)

// backUp copies the database while it is open.
func backUp(t *testing.T, r *storetest.Database, to string) backup.Contents {
	t.Helper()
	c, err := r.Driver.(*sqlite.Database).CopyTo(t.Context(), to)
	require.NoError(t, err)
	return c
}

func TestABackupOfTheRegistryIsWholeAndSaysWhatIsInIt(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	for i := range 3 {
		_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: fmt.Sprintf("store-%d", i), At: storetest.T0})
		require.NoError(t, err)
	}
	b.MustEnsure(t, 1)
	b.MustBegin(t, 2, "run")
	to := filepath.Join(t.TempDir(), "stores.db")
	c := backUp(t, b.Registry, to)
	require.Equal(t, map[string]int64{"monitored": 4, "deletionPending": 1, "held": 0, "stopped": 0, "changes": 5}, c.Rows)
	require.Equal(t, sqlite.NewestSchema(), c.Schema)
	require.Len(t, c.Identity, 32)

	_, err := storetest.Open(t, storetest.Settings{}).Driver.(*sqlite.Database).CopyTo(t.Context(), to)
	require.ErrorIs(t, err, backup.ErrNothingOnDisk)
}

// A backup counts as lost however it is put back, and whatever mark is there.
func TestARegistryThatWasPutBackCountsAsLost(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	b.MustEnsure(t, 1)
	copied := filepath.Join(t.TempDir(), "backup.db")
	before := backUp(t, b.Registry, copied)
	content, err := os.ReadFile(copied)
	require.NoError(t, err)
	for name, mark := range map[string]func(t *testing.T, k killed){
		"no mark":               func(*testing.T, killed) {},
		"its own mark":          func(t *testing.T, k killed) { put(t, sqlite.MarkOf(b.Path), k.mark()) },
		"the mark of another":   func(t *testing.T, k killed) { put(t, kill(t, 5).mark(), k.mark()) },
		"a mark that is broken": func(t *testing.T, k killed) { require.NoError(t, os.WriteFile(k.mark(), []byte("x"), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := killed{t.TempDir()}
			require.NoError(t, os.WriteFile(k.file(""), content, 0o600))
			mark(t, k)
			for range 2 { // a start changes nothing about it
				r := k.open(t)
				o, err := r.Overview(t.Context())
				require.NoError(t, err)
				require.NotNil(t, o.Loss())
				require.Contains(t, o.Loss().Reason, "the registry is its backup of 20")
				require.NotContains(t, o.Loss().Reason, ";", "it is found once")
				_, err = r.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: time.Now()})
				require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged)
				require.NoError(t, r.Close())
			}
			r := k.open(t)
			require.NotEqual(t, before.Identity, backUp(t, r, filepath.Join(t.TempDir(), "next.db")).Identity, "what was there before would be noticed if it came back")
			require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
			require.NoError(t, r.Close())
			o, err := k.open(t).Overview(t.Context())
			require.NoError(t, err)
			require.Nil(t, o.Loss(), "for good")
		})
	}
}

func put(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o600))
}

func TestWhatHadTimeLeftInABackupHasItAfterTheRestore(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	now := time.Now().UTC().Truncate(time.Microsecond) // a backup is of the real time
	b.Clock.Set(now)
	ensure := func(id string) {
		_, err := b.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: id, At: now})
		require.NoError(t, err)
	}
	for _, id := range []string{"pending-1", "held-1", "unlisted-1", "paused-1"} {
		ensure(id)
	}
	in := func(d time.Duration) *time.Time { return new(now.Add(d)) }
	_, err := b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: "pending-1", At: now.Add(time.Millisecond), DeleteAt: *in(10 * time.Hour), Owner: "run"})
	require.NoError(t, err)
	_, err = b.Hold(t.Context(), "held-1", storemanager.HoldRequest{Hold: storemanager.Hold{Reason: "why", Actor: "ann", ExpiresAt: in(5 * time.Hour)}})
	require.NoError(t, err)
	_, err = b.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: "paused-1", Reason: "why", Actor: "ann", ExpiresAt: in(2 * time.Hour)}})
	require.NoError(t, err)
	require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: now.Add(time.Second), Unlisted: []string{"unlisted-1"}}))
	require.NoError(t, b.KeepAccepted(t.Context(), deliveries.AcceptedEvent{DeliveryID: "evt_1", StoreID: "new-1", EventAt: now, Event: []byte("{}")}))
	require.NoError(t, b.EngineTold(t.Context(), deliveries.EngineRequest{Engine: "engine"}))
	unlisted, err := b.Get(t.Context(), "unlisted-1")
	require.NoError(t, err)
	require.NotNil(t, unlisted.UnlistedSince)
	to := filepath.Join(t.TempDir(), "stores.db")
	backUp(t, b.Registry, to)

	const age = 100 * time.Hour // all of it would be over
	clock := storetest.NewClock()
	clock.Set(now.Add(age))
	r := storetest.Open(t, storetest.Settings{Path: to, Now: clock.Now})
	about := func(want time.Duration, got time.Time) { // the copy began some moments after now
		t.Helper()
		require.WithinDuration(t, now.Add(age+want), got, time.Minute)
		require.False(t, got.After(now.Add(age+want)), "the time since the copy")
	}
	get := func(id string) storemanager.Store {
		s, err := r.Get(t.Context(), id)
		require.NoError(t, err)
		return s
	}
	about(10*time.Hour, get("pending-1").Deletion.DeleteAt)
	about(5*time.Hour, *get("held-1").Hold.ExpiresAt)
	about(2*time.Hour, *get("paused-1").Pause.ExpiresAt)
	require.Nil(t, get("unlisted-1").UnlistedSince, "two lists from now on must lack it")

	// The lifecycle of a restored Temporal remembers the time of the past, and may not stop it, even when the loss is acknowledged.
	require.NoError(t, r.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
	clock.Set(now.Add(age + 20*time.Hour))
	stop := storemanager.StopRequest{StoreID: "pending-1", Owner: "run", AbsentAt: clock.Now()}
	stopped, err := r.Stop(t.Context(), stop)
	require.NoError(t, err)
	require.Equal(t, storemanager.StopNotPending, stopped.Outcome)
	_, err = r.TakeOverDeletion(t.Context(), storemanager.TakeOverRequest{StoreID: "pending-1", Owner: "next run"})
	require.NoError(t, err)
	stop.Owner = "next run"
	stopped, err = r.Stop(t.Context(), stop)
	require.NoError(t, err)
	require.Equal(t, storemanager.StopStopped, stopped.Outcome)

	events, err := r.Unheard(t.Context(), deliveries.UnheardRequest{Engine: "engine"})
	require.NoError(t, err)
	require.Len(t, events, 1, "a Temporal that was restored as well is told again")
}
