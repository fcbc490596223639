package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager"
)

// many is an operator of an installation, and stores of these ids.
func many(t *testing.T, ids ...string) *operator {
	t.Helper()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address, "STOREKEEPER_URL="+edgeOver(t, in.registry))
	for _, id := range ids {
		require.Equal(t, exit.Done, c.run(t, "provision", id).exit)
	}
	return c
}

// fed runs a command with this on stdin.
func (c *operator) fed(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Run(t.Context(), Options{Args: args, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Environ: c.environ})
	return outcome{exit.Code(code), stdout.String(), stderr.String()}
}

func TestOneReasonAndOneBatchBindWhatIsDoneToSeveralStores(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := many(t, "bulk-a-1", "bulk-a-2", "bulk-a-3")
	file := filepath.Join(t.TempDir(), "ids.txt")
	require.NoError(t, os.WriteFile(file, []byte("# these\nbulk-a-2\n\n  bulk-a-3 # and this\nbulk-a-2\n"), 0o600))
	for _, step := range []struct {
		args []string
		is   func(storemanager.Store) bool
	}{
		{[]string{"hold", "--reason", "an export"}, func(s storemanager.Store) bool {
			return s.Hold != nil && s.Hold.Actor == "ann" && s.Hold.Reason == "an export"
		}},
		{[]string{"release"}, func(s storemanager.Store) bool { return s.Hold == nil }},
		{[]string{"delete", "--reason", "gone", "--grace", "7d"}, func(s storemanager.Store) bool {
			return s.Deletion != nil && s.Deletion.DeleteAt.After(s.Deletion.Since.Add(150*60*60*1e9))
		}},
		{[]string{"cancel-delete", "--reason", "a mistake"}, func(s storemanager.Store) bool { return s.Deletion == nil && s.Hold != nil }},
		{[]string{"pause", "--reason", "under repair", "--for", "2h"}, func(s storemanager.Store) bool { return s.Pause != nil && s.Pause.ExpiresAt != nil }},
		{[]string{"resume", "--reason", "repaired"}, func(s storemanager.Store) bool { return s.Pause == nil }},
		{[]string{"provision"}, func(s storemanager.Store) bool { return true }},
	} {
		result := c.done(t, append(step.args, "bulk-a-1", "--file", file, "--yes")...)
		require.InDelta(t, 3, result["done"], 0, step.args)
		require.Len(t, result["results"], 3)
		for _, id := range []string{"bulk-a-1", "bulk-a-2", "bulk-a-3"} {
			store, err := in.registry.Get(t.Context(), id)
			require.NoError(t, err)
			require.True(t, step.is(store), "%s after %v: %+v", id, step.args, store)
		}
		batch := c.run(t, "audit", "--batch", result["batch"].(string), "--json").entries(t)
		require.Equal(t, storemanager.AuditBatch, batch[0].Kind, "one entry says who asked for what of which stores")
		require.ElementsMatch(t, []string{"bulk-a-1", "bulk-a-2", "bulk-a-3"}, batch[0].Evidence.StoreIDs)
		for _, e := range batch {
			require.Equal(t, []string{"ann", "cli"}, []string{e.Actor, e.Via}, "%+v", e)
		}
	}
}

func TestSeveralStoresAreConfirmedOnce(t *testing.T) {
	t.Parallel()
	in := installed(t)
	ids := []string{"bulk-b-1", "bulk-b-2", "bulk-b-3", "bulk-b-4", "bulk-b-5", "bulk-b-6"}
	c := many(t, ids...)
	held := func() bool {
		store, err := in.registry.Get(t.Context(), "bulk-b-6")
		require.NoError(t, err)
		return store.Hold != nil
	}
	args := append([]string{"hold", "--reason", "r"}, ids...)
	out := c.run(t, args...)
	require.Equal(t, exit.Usage, out.exit)
	require.Contains(t, out.stderr, "hold of 6 stores wants --yes where nobody can be asked")
	require.Equal(t, exit.Usage, c.fed(t, strings.Join(ids, "\n"), "hold", "--reason", "r", "--file", "-").exit)
	code, shown := c.typing(t.Context(), t, 120, "n\n", ignore, args...)
	require.Equal(t, exit.Usage, code)
	require.Contains(t, shown, "hold 6 stores: bulk-b-1, bulk-b-2, bulk-b-3, bulk-b-4, bulk-b-5, and 1 more")
	require.False(t, held())
	code, shown = c.typing(t.Context(), t, 120, "y\n", ignore, args...)
	require.Equal(t, exit.Done, code, shown)
	require.Contains(t, shown, "hold: 6 done, 0 failed; starter audit --batch ")
	require.True(t, held())
	require.Equal(t, exit.Done, c.fed(t, strings.Join(ids, "\n"), "release", "--file", "-", "--yes").exit)
	require.False(t, held())
	require.Equal(t, exit.Done, c.run(t, "hold", "bulk-b-1", "--reason", "r").exit, "one alone needs no confirmation")
}

func TestWhatFailsForSomeIsNamedAndTheRestIsDone(t *testing.T) {
	t.Parallel()
	c := many(t, "bulk-c-1", "bulk-c-2")
	require.Equal(t, exit.Done, c.run(t, "delete", "bulk-c-1", "--reason", "gone").exit)
	out := c.run(t, "cancel-delete", "bulk-c-1", "bulk-c-2", "bulk-c-none", "--reason", "a mistake", "--yes")
	require.Equal(t, exit.Drift, out.exit, out.stderr)
	require.Contains(t, out.stdout, "cancel-delete: 1 done, 2 failed; starter audit --batch ")
	require.Contains(t, out.stderr, "bulk-c-2: No deletion of this store is pending")
	require.Contains(t, out.stderr, "bulk-c-none: No such store is monitored")
	// What one store alone would be refused as, is a failure here, too.
	out = c.run(t, "delete", "bulk-c-1", "bulk-c-2", "--reason", "gone", "--yes")
	require.Equal(t, exit.Drift, out.exit)
	require.Contains(t, out.stderr, "bulk-c-1: the store of bulk-c-1 stays: the store is held by ann")

	away := setup(t, "STOREKEEPER_URL=http://"+closedPort(t))
	out = away.run(t, "hold", "bulk-c-1", "bulk-c-2", "--reason", "r", "--yes")
	require.Equal(t, exit.Unreachable, out.exit)
	require.Contains(t, out.stdout, "2 not asked for")
}

func TestAFileThatNamesNothingOrNoIDsMeansNotAllStores(t *testing.T) {
	t.Parallel()
	c := many(t)
	for stdin, code := range map[string]exit.Code{"": exit.NotFound, "# nothing\n": exit.NotFound, "ws-1\n../x\n": exit.Usage} {
		for _, verb := range []string{"pause", "resume", "hold"} {
			out := c.fed(t, stdin, verb, "--reason", "r", "--file", "-", "--yes")
			require.Equal(t, code, out.exit, "%s %q: %s", verb, stdin, out.stdout)
		}
	}
	require.Contains(t, c.fed(t, "ws-1\n../x\n", "hold", "--reason", "r", "--file", "-", "--yes").stderr, "line 2")
}

func TestShortIDsAreTakenWhereTheyAreArguments(t *testing.T) {
	t.Parallel()
	c, r := namedStores(t)
	out := c.run(t, "pause", "7c11aa00", otherID, "--reason", "r", "--yes")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	pauses, err := r.Pauses(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{thirdID, otherID}, []string{pauses[0].StoreID, pauses[1].StoreID})
	listed := c.run(t, "list", "--state", "paused")
	require.Regexp(t, `(?m)^`+thirdID+` .* paused +not_configured +paused by ann until resumed: r$`, listed.stdout)
	require.NotContains(t, listed.stdout, longID)
	require.Equal(t, exit.Usage, c.run(t, "pause", "0b5a3b46-7a2e", thirdID, "--reason", "r", "--yes").exit, "it is ambiguous")
}

func TestThousandsGoInPartsOfOneBatch(t *testing.T) {
	t.Parallel()
	_, c := realInstallation(t)
	var ids []string
	for i := range storemanager.MaxBatch + 5 {
		ids = append(ids, fmt.Sprintf("store-%04d", i))
	}
	out := c.fed(t, strings.Join(ids, "\n"), "pause", "--reason", "r", "--file", "-", "--yes", "--json")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	result := out.fields(t)
	require.InDelta(t, len(ids), result["done"], 0)
	require.Len(t, c.run(t, "audit", "--batch", result["batch"].(string), "--kind", "batch", "--json").entries(t), 2)
	long := slices.Repeat([]string{strings.Repeat("x", 64)}, storemanager.MaxBatch)
	require.Less(t, partOf(long), storemanager.MaxBatch, "the edge takes no body over 64 KiB")
	require.Equal(t, storemanager.MaxBatch, partOf(ids))
}

func TestWhatARunHandedOverIsFoundByTheRun(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := many(t, "bulk-r-1", "bulk-r-2", "bulk-r-3")
	ask := func(id string, run string) {
		by := storemanager.Origin{Source: storemanager.SourceReconcile, RunID: run}
		_, err := in.registry.BeginDeletion(t.Context(), storemanager.DeletionRequest{
			StoreID: id, At: time.Now(), DeleteAt: time.Now().Add(1e12), GracePeriod: 1e12, Owner: "run-" + id, ByList: true, Origin: by,
		})
		require.NoError(t, err)
	}
	ask("bulk-r-1", "run-bulk-r")
	ask("bulk-r-2", "run-bulk-r")
	ask("bulk-r-3", "another-run")
	_, err := in.registry.Ensure(t.Context(), storemanager.EnsureRequest{
		StoreID: "bulk-r-new", At: time.Now(), Origin: storemanager.Origin{Source: storemanager.SourceReconcile, RunID: "run-bulk-r"},
	})
	require.NoError(t, err)
	out := c.run(t, "cancel-delete", "--from-run", "run-bulk-r", "--reason", "the list was wrong", "--yes", "--json")
	require.Equal(t, exit.Done, out.exit, "%s%s", out.stdout, out.stderr)
	require.Len(t, out.fields(t)["results"], 2, "what it has added has no deletion to cancel")
	for id, want := range map[string]bool{"bulk-r-1": true, "bulk-r-2": true, "bulk-r-3": false} {
		store, err := in.registry.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, store.Hold != nil, id)
	}
	out = c.run(t, "hold", "--from-run", "run-bulk-r", "--reason", "to be sure", "--yes", "--json")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Len(t, out.fields(t)["results"], 3, "what it has added, too")
	out = c.run(t, "resume", "--from-run", "run-of-nobody", "--reason", "r", "--yes")
	require.Equal(t, exit.NotFound, out.exit)
}

func TestEachActionSaysWhoAskedByWhichWayAndWhy(t *testing.T) {
	t.Parallel()
	c := many(t)
	for _, step := range []struct {
		kind string
		args []string
	}{
		{"ensure", []string{"provision", "origin-1", "--reason", "why-ensure", "--actor", "bob"}},
		{"deletion", []string{"delete", "origin-1", "--reason", "why-deletion", "--actor", "bob"}},
		{"hold", []string{"cancel-delete", "origin-1", "--reason", "why-hold", "--actor", "bob"}},
		{"release", []string{"release", "origin-1", "--reason", "why-release", "--actor", "bob"}},
		{"hold", []string{"hold", "origin-1", "--reason", "why-hold", "--actor", "bob"}},
		{"pause", []string{"pause", "origin-1", "--reason", "why-pause", "--actor", "bob"}},
		{"resume", []string{"resume", "origin-1", "--reason", "why-resume", "--actor", "bob"}},
	} {
		out := c.run(t, step.args...)
		require.Equal(t, exit.Done, out.exit, "%v: %s", step.args, out.stderr)
		entries := c.run(t, "history", "origin-1", "--kind", step.kind, "--json").entries(t)
		require.NotEmpty(t, entries, step.kind)
		last := entries[len(entries)-1]
		require.Equal(t, []string{"operator", "bob", "cli", "why-" + step.kind}, []string{string(last.Source), last.Actor, last.Via, last.Reason}, step.kind)
		require.NotEmpty(t, last.RequestID, step.kind)
	}
}

func TestARunSaysWhoAskedForItAndWhoApprovedItsPlan(t *testing.T) {
	t.Parallel()
	in, c := realInstallation(t)
	in.SignUp()
	in.Settle()
	require.Equal(t, exit.Done, c.run(t, "reconcile", "--wait", "--actor", "bob", "--reason", "to be sure").exit)
	runs := c.run(t, "audit", "--kind", "run", "--actor", "bob", "--json").entries(t)
	require.Len(t, runs, 1)
	require.Equal(t, []string{contract.ViaCLI, "to be sure"}, []string{runs[0].Via, runs[0].Reason})
	in.SignUpSilently()
	plan := c.done(t, "reconcile", "--plan")
	out := c.run(t, "reconcile", "--apply", plan["hash"].(string), "--actor", "cid", "--reason", "they are new")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	approvals := c.run(t, "audit", "--kind", "approval", "--json").entries(t)
	require.Len(t, approvals, 1)
	require.Equal(t, []string{"cid", "they are new", plan["hash"].(string)}, []string{approvals[0].Actor, approvals[0].Reason, approvals[0].Plan})
}
