package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"storekeeper/tests/proctest"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// crashFileEnv makes the test binary a process that writes to that registry until it is killed.
const crashFileEnv = "STOREMANAGER_CRASH_FILE"

// writeUntilKilled creates stores, begins the deletion of each second one and stops each fourth, and prints each answer
// once it has it.
func writeUntilKilled(path string) {
	ctx := context.Background()
	r, err := storetest.TryOpen(ctx, storetest.Settings{Path: path})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("store-%d-%d", worker, i)
				if _, err := r.Ensure(ctx, storemanager.EnsureRequest{StoreID: id, At: storetest.T0}); err != nil {
					fmt.Println("failed", err)
					return
				}
				fmt.Println("created", id)
				if i%2 == 0 {
					if _, err := r.BeginDeletion(ctx, storemanager.DeletionRequest{StoreID: id, At: storetest.T0, DeleteAt: storetest.T0, Owner: "run"}); err != nil {
						fmt.Println("failed", err)
						return
					}
					fmt.Println("pending", id)
				}
				if i%4 == 0 {
					if _, err := r.Stop(ctx, storemanager.StopRequest{StoreID: id, Owner: "run", AbsentAt: time.Now()}); err != nil {
						fmt.Println("failed", err)
						return
					}
					fmt.Println("stopped", id)
				}
			}
		})
	}
	wg.Wait()
}

func TestWhatWasAnsweredSurvivesKill9(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "registry.db")
	answered := map[string]string{} // the last answer by id; an id's answers come in order
	for round := range 3 {
		child := proctest.StartSelf(t, crashFileEnv+"="+path)
		line, more := child.Next()
		for n := 0; more; n++ { // until the pipe is empty: what was printed before the kill counts too
			what, id, ok := strings.Cut(line, " ")
			require.True(t, ok, line)
			require.NotEqual(t, "failed", what, line)
			// Later rounds repeat the requests of the first, whose answers then tell less.
			if round == 0 || answered[id] == "" {
				answered[id] = what
			}
			if n == 0 {
				_, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
				require.ErrorContains(t, err, "another process has it open")
			}
			if n == 200 {
				require.NoError(t, child.Process.Kill())
			}
			line, more = child.Next()
		}
		_ = child.Wait() // "signal: killed"

		r, err := storetest.TryOpen(t.Context(), storetest.Settings{Path: path})
		require.NoError(t, err)
		var pending, stopped int
		for id, what := range answered {
			s, err := r.Get(t.Context(), id)
			require.NoError(t, err, id)
			switch what {
			case "pending":
				pending++
				require.True(t, s.Deletion != nil || s.State == storemanager.StateStopped, id)
			case "stopped":
				stopped++
				require.Equal(t, storemanager.StateStopped, s.State, id)
			}
		}
		require.NotZero(t, pending)
		require.NotZero(t, stopped)
		storetest.RequireCountsMatchRows(t, r)
		require.NoError(t, r.Close())
	}
}

// killedWriter is what a process leaves that was killed after so many of its answers.
func killedWriter(t *testing.T, k killed, answers int) {
	t.Helper()
	child := proctest.StartSelf(t, crashFileEnv+"="+k.file(""))
	line, more := child.Next()
	for n := 0; more; n++ {
		require.False(t, strings.HasPrefix(line, "failed"), line)
		if n == answers {
			require.NoError(t, child.Process.Kill())
		}
		line, more = child.Next()
	}
	_ = child.Wait() // "signal: killed"
}

func TestManyKillsRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	const registries, kills = 4, 50
	for n := range registries {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			k := killed{t.TempDir()}
			for range kills {
				killedWriter(t, k, rand.IntN(60))
				if rand.IntN(4) == 0 { // else the next one is killed on what this one has left
					requireWhole(t, k)
				}
			}
			requireWhole(t, k)
			require.NoError(t, k.open(t).Close())
			requireWhole(t, k)
		})
	}
}

// requireWhole looks at what a kill has left, and leaves it.
func requireWhole(t *testing.T, k killed) {
	t.Helper()
	r := copied(t, k).open(t)
	requireNotLost(t, r)
	storetest.RequireCountsMatchRows(t, r)
	require.NoError(t, r.Close())
}

func TestALossAfterAKillIsNoticed(t *testing.T) {
	t.Parallel()
	for name, tt := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := killed{t.TempDir()}
			killedWriter(t, k, 40+rand.IntN(40))
			requireWhole(t, k)
			tt.lose(t, k)
			requireLost(t, k.open(t))
		})
	}
}
