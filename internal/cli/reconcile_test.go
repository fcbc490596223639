package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager"
)

// There is one reconcile id and one list, so this is one story.
func TestReconcileRunsPlansJoinsAndAppliesWhatWasApproved(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address)
	run := func(want exit.Code, args ...string) (reconcileResult, outcome) {
		t.Helper()
		out := c.run(t, append([]string{"reconcile", "--json"}, args...)...)
		require.Equal(t, want, out.exit, "%s%s", out.stdout, out.stderr)
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
	started, _ := run(exit.Done)
	require.Equal(t, "started", started.Status)
	require.Nil(t, started.Result)

	// While it runs: another one is refused, with an approval even by --wait; waiting can end before the run does.
	for todo, args := range map[string][]string{
		"--wait joins it": nil, "wait for its end, and then again: starter reconcile --apply 0123456789abcdef": {"--apply", "0123456789abcdef", "--reason", "r"},
	} {
		_, out := run(exit.Refused, args...)
		require.Equal(t, "reconcile_running", out.errorCode(t))
		require.Contains(t, out.stderr, todo)
	}
	_, out := run(exit.Accepted, "--wait", "--timeout", "2s")
	require.Equal(t, "accepted", out.errorCode(t))
	require.Contains(t, interruptOnceWaiting(t, c, "reconcile", "--wait"), "goes on by itself")

	// Whoever gives up on a plan leaves no comparison behind.
	gaveUp := c.run(t, "drift", "--timeout", "2s")
	require.Equal(t, exit.Unreachable, gaveUp.exit, gaveUp.stderr)
	require.Contains(t, gaveUp.stderr, "there is no plan after 2s")
	in.requireNoPlans(t)

	release()
	done, _ := run(exit.Done, "--wait")
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
	drift := func(want exit.Code) contract.Plan {
		t.Helper()
		out := c.run(t, "drift", "--json")
		require.Equal(t, want, out.exit, out.stderr)
		var plan contract.Plan
		require.NoError(t, json.Unmarshal([]byte(out.stdout), &plan))
		return plan
	}
	for range 2 {
		require.Equal(t, 19, drift(exit.Drift).FirstSightings, "to look is no sighting")
	}
	first, _ := run(exit.Guard, "--wait")
	require.Equal(t, 19, first.Result.FirstSightings)
	require.Equal(t, 19, drift(exit.Drift).OrphanCount)
	tripped, out := run(exit.Guard, "--wait")
	require.Equal(t, "guard_tripped", out.errorCode(t))
	require.Contains(t, out.stderr, "starter reconcile --wait --apply "+tripped.Result.PlanHash)
	require.Zero(t, tripped.Result.Removed)
	shown := c.run(t, "reconcile", "--plan")
	require.Equal(t, exit.Done, shown.exit, shown.stderr)
	require.Contains(t, shown.stdout, "to carry out exactly this: starter reconcile --apply "+tripped.Result.PlanHash)
	require.Equal(t, 19, strings.Count(shown.stdout, "  delete  in neither of two consecutive lists\n"))
	require.Contains(t, shown.stdout, "the guard: ")

	// An outage of the Auth Worker is no fault of ours.
	in.reconcileList.fail(errors.New("the auth worker is away"))
	away := c.run(t, "drift", "--json")
	require.Equal(t, exit.Unreachable, away.exit, away.stderr)
	require.Equal(t, "unreachable", away.errorCode(t))
	require.Contains(t, away.stderr, "the auth worker is away")

	// A token that is refused is said at once: no attempt but the first is worth anything.
	in.reconcileList.fail(authclient.ErrUnauthorized)
	refusedToken := c.run(t, "drift", "--json", "--timeout", "25s") // a run would try again after 30 s
	require.Equal(t, exit.Refused, refusedToken.exit, refusedToken.stderr)
	require.Equal(t, "unauthorized", refusedToken.errorCode(t))
	require.Contains(t, refusedToken.stderr, "SERVER_BYPASS_TOKEN must be the one that the Auth Worker")
	in.reconcileList.fail(nil)

	// What stands in the way of an apply is said before and after.
	_, err = in.reconciled.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)
	require.Contains(t, c.run(t, "reconcile", "--plan").stdout, "this can't be carried out: reconciliation is paused; first: starter resume")
	refused := c.run(t, "reconcile", "--apply", tripped.Result.PlanHash, "--reason", "they have left")
	require.Equal(t, exit.Refused, refused.exit, refused.stdout)
	require.Contains(t, refused.stderr, "reconciliation is paused by bob: audit")
	require.NoError(t, in.reconciled.Resume(t.Context(), storemanager.ResumeRequest{}))

	// The world changes, so that plan is not carried out, not even the part of it that only adds.
	in.reconcileList.list("one-more", true)
	_, err = in.reconciled.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{StoreID: requests[0].StoreID, Reason: "audit", Actor: "bob"}})
	require.NoError(t, err)
	changed := c.run(t, "reconcile", "--apply", tripped.Result.PlanHash, "--reason", "they have left", "--json")
	require.Equal(t, exit.Refused, changed.exit, changed.stdout)
	require.Equal(t, "plan_changed", changed.errorCode(t))
	_, err = in.reconciled.Get(t.Context(), "one-more")
	require.ErrorIs(t, err, storemanager.ErrNotFound)
	require.NoError(t, in.reconciled.Resume(t.Context(), storemanager.ResumeRequest{StoreID: requests[0].StoreID}))
	mixed := c.run(t, "reconcile", "--plan").stdout
	require.Equal(t, 2, strings.Count(mixed, planHashIn.FindString(lastLine(mixed))), mixed)
	guard, _, _ := strings.Cut(mixed, "\n\n")
	require.Contains(t, guard, "the guard: ")
	require.NotContains(t, guard, tripped.Result.PlanHash, "one hash is named, and no other")
	require.Less(t, strings.Index(mixed, "  delete  "), strings.Index(mixed, "  create  "))
	in.reconcileList.list("one-more", false)

	text := c.run(t, "reconcile", "--apply", tripped.Result.PlanHash, "--reason", "they have left", "--actor", "ann")
	require.Equal(t, exit.Done, text.exit, text.stderr)
	require.Contains(t, text.stdout, "    19  to be removed after the grace period")
	known, err := in.reconciled.Reconciliation(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(known.Recent[0].Report), `"actor":"ann"`)
}

var planHashIn = regexp.MustCompile(`[0-9a-f]{16}`)

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// requireNoPlans waits until Temporal knows of no comparison, and neither does a worker.
func (i *installation) requireNoPlans(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		list, err := i.sdk.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
			Query: "WorkflowType = '" + contract.TypePlanReconcile + "'",
		})
		require.NoError(t, err)
		return len(list.GetExecutions()) == 0
	}, 20*time.Second, 100*time.Millisecond)
	require.Eventually(t, func() bool { return i.reconcileList.waiting.Load() <= 1 }, 20*time.Second, 10*time.Millisecond, "the run's own list alone")
}

// interruptOnceWaiting interrupts the command when it says on stderr that it waits, and returns what it said in all.
func interruptOnceWaiting(t *testing.T, c *operator, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stderr := &notifyingBuffer{written: cancel}
	code := Run(ctx, Options{Args: args, Stdout: &bytes.Buffer{}, Stderr: stderr, Environ: c.environ})
	require.Equal(t, int(exit.Interrupted), code, stderr.String())
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
