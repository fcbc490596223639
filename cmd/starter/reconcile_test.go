package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/workflows"
)

// There is one reconcile id and one list, so this is one story.
func TestReconcile(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address)
	run := func(exit exitCode, args ...string) (reconcileResult, outcome) {
		t.Helper()
		out := c.run(t, append([]string{"reconcile", "--json"}, args...)...)
		require.Equal(t, exit, out.exit, "%s%s", out.stdout, out.stderr)
		var result reconcileResult
		if out.stdout != "" {
			require.NoError(t, json.Unmarshal([]byte(out.stdout), &result))
			require.NotEmpty(t, result.RunID)
		}
		return result, out
	}

	release := in.reconcileList.hold()
	t.Cleanup(release) // or the worker could not stop
	in.reconcileList.list("reconcile-listed", true)
	started, _ := run(exitDone)
	require.Equal(t, "started", started.Status)
	require.Nil(t, started.Result)

	// While it runs: another one is refused, with an approval even by --wait; waiting can end before the run does.
	for _, args := range [][]string{nil, {"--wait", "--apply", "0123456789abcdef"}} {
		_, out := run(exitRefused, args...)
		require.Equal(t, "reconcile_running", out.errorCode(t))
	}
	_, out := run(exitAccepted, "--wait", "--timeout", "2s")
	require.Equal(t, "accepted", out.errorCode(t))
	require.Contains(t, interruptOnceWaiting(t, c, "reconcile", "--wait"), "goes on by itself")

	release()
	done, _ := run(exitDone, "--wait")
	require.Equal(t, "completed", done.Status)
	require.NotNil(t, done.Result)
	_, err := in.reconciled.Get(t.Context(), "reconcile-listed")
	require.NoError(t, err)

	// 19 of 20 stores are gone from the list: the second list trips the guard, the approval lets them go.
	var requests []storemanager.EnsureRequest
	for range 19 {
		id := uuid.NewString() // of this run of the test alone: go test -count keeps the installation
		requests = append(requests, storemanager.EnsureRequest{StoreID: id, At: time.Now().Add(-time.Hour)})
		t.Cleanup(func() { in.reconcileList.list(id, true) })
	}
	_, err = in.reconciled.EnsureBatch(t.Context(), requests)
	require.NoError(t, err)
	drift := func(exit exitCode) workflows.Plan {
		t.Helper()
		out := c.run(t, "drift", "--json")
		require.Equal(t, exit, out.exit, out.stderr)
		var plan workflows.Plan
		require.NoError(t, json.Unmarshal([]byte(out.stdout), &plan))
		return plan
	}
	for range 2 {
		require.Equal(t, 19, drift(exitDrift).FirstSightings, "to look is no sighting")
	}
	first, _ := run(exitDone, "--wait")
	require.Equal(t, 19, first.Result.FirstSightings)
	require.Equal(t, 19, drift(exitDrift).OrphanCount)
	tripped, out := run(exitGuard, "--wait")
	require.Equal(t, "guard_tripped", out.errorCode(t))
	require.Contains(t, out.stderr, "starter reconcile --wait --apply "+tripped.Result.PlanHash)
	require.Zero(t, tripped.Result.Removed)
	shown := c.run(t, "reconcile", "--plan")
	require.Equal(t, exitDone, shown.exit, shown.stderr)
	require.Contains(t, shown.stdout, "to carry out exactly this: starter reconcile --apply "+tripped.Result.PlanHash)
	require.Equal(t, 19, strings.Count(shown.stdout, "  delete  in neither of two consecutive lists\n"))
	require.Contains(t, shown.stdout, "the guard: ")

	// The world changes, so that plan is not carried out, not even the part of it that only adds.
	in.reconcileList.list("one-more", true)
	changed := c.run(t, "reconcile", "--apply", tripped.Result.PlanHash, "--json")
	require.Equal(t, exitRefused, changed.exit, changed.stdout)
	require.Equal(t, "plan_changed", changed.errorCode(t))
	_, err = in.reconciled.Get(t.Context(), "one-more")
	require.ErrorIs(t, err, storemanager.ErrNotFound)
	in.reconcileList.list("one-more", false)

	text := c.run(t, "reconcile", "--apply", tripped.Result.PlanHash)
	require.Equal(t, exitDone, text.exit, text.stderr)
	require.Contains(t, text.stdout, "    19  to be removed after the grace period")
}

// interruptOnceWaiting interrupts the command when it says on stderr that it waits, and returns what it said in all.
func interruptOnceWaiting(t *testing.T, c *cli, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &notifyingBuffer{written: cancel}
	code := Execute(ctx, Options{Args: args, Stdout: &bytes.Buffer{}, Stderr: stderr, Environ: c.environ})
	require.Equal(t, int(exitInterrupted), code, stderr.String())
	return stderr.String()
}

// notifyingBuffer calls written at each write.
type notifyingBuffer struct {
	bytes.Buffer
	written func()
}

func (b *notifyingBuffer) Write(p []byte) (int, error) {
	b.written()
	return b.Buffer.Write(p)
}
