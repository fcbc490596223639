package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/temporalserver"
)

func TestTheLifeOfAStore(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address, "STOREKEEPER_URL="+edgeOver(t, in.registry))
	status := func(want string, code exit.Code, args ...string) map[string]any {
		t.Helper()
		out := c.run(t, append(args, "--json")...)
		require.Equal(t, code, out.exit, "%v: %s%s", args, out.stdout, out.stderr)
		fields := out.fields(t)
		require.Equal(t, want, fields["status"], out.stdout)
		require.Equal(t, "life-1", fields["instanceId"])
		if code == exit.Done {
			require.Empty(t, out.stderr)
		}
		return fields
	}

	status("monitoring_started", exit.Done, "provision", "life-1", "--user", "u1")
	status("already_monitored", exit.Done, "provision", "life-1")

	// A deletion is pending, shown and cancelled.
	pending := status("deletion_scheduled", exit.Done, "delete", "life-1", "--reason", "r", "--grace", "2h")
	deleteAt, err := time.Parse(time.RFC3339, pending["deleteAt"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(2*time.Hour), deleteAt, time.Minute)
	status("deletion_already_scheduled", exit.Done, "delete", "life-1", "--reason", "r", "--grace", "2h")
	out := c.run(t, "status", "life-1", "--json")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Equal(t, "deletion_pending", out.fields(t)["lifecycle"].(map[string]any)["state"])
	require.Contains(t, c.run(t, "status", "life-1").stdout, "a deletion, asked for by operator, due ")
	status("deletion_cancelled", exit.Done, "cancel-delete", "life-1", "--reason", "a mistake", "--for", "1h")
	store, err := in.registry.Get(t.Context(), "life-1")
	require.NoError(t, err)
	require.Equal(t, "ann", store.Hold.Actor)
	require.Equal(t, "a mistake", store.Hold.Reason)
	require.Nil(t, store.Deletion)

	// The hold refuses the next one until it is released.
	status("deletion_cancelled", exit.Refused, "delete", "life-1", "--reason", "r")
	status("released", exit.Done, "release", "life-1")
	status("held", exit.Done, "hold", "life-1", "--reason", "audit", "--actor", "bob")
	status("released", exit.Done, "release", "life-1")

	// The Auth Worker has the last word.
	in.authWorker.list("life-1", true)
	status("deletion_cancelled", exit.Refused, "delete", "life-1", "--reason", "r", "--grace", "0s")
	in.authWorker.list("life-1", false)
	status("monitoring_stopped", exit.Done, "delete", "life-1", "--reason", "r", "--grace", "0s")
	status("already_stopped", exit.Done, "delete", "life-1", "--reason", "r")
	status("already_stopped", exit.NotFound, "hold", "life-1", "--reason", "audit")
	out = c.run(t, "cancel-delete", "life-1", "--reason", "too late", "--json")
	require.Equal(t, exit.NotFound, out.exit)
	require.Equal(t, "no_pending_deletion", out.errorCode(t))
	out = c.run(t, "status", "life-1")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "store      stopped\n")
	require.Contains(t, out.stdout, "under way  nothing\n")
	out = c.run(t, "status", "never-lived", "--json")
	require.Equal(t, exit.NotFound, out.exit)
	require.Equal(t, "not_found", out.errorCode(t))
}

func TestDeleteWaitsForTheEndOfTheGracePeriod(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address)
	require.Equal(t, exit.Done, c.run(t, "provision", "wait-1").exit)
	out := c.run(t, "delete", "wait-1", "--reason", "r", "--grace", "200ms", "--wait")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.Contains(t, out.stdout, "wait-1: deletion_scheduled\n")
	require.Contains(t, out.stdout, "starter cancel-delete wait-1")
	require.Contains(t, out.stdout, "wait-1: monitoring_stopped\n")

	require.Equal(t, exit.Done, c.run(t, "provision", "wait-2").exit)
	out = c.run(t, "delete", "wait-2", "--reason", "r", "--grace", "1h", "--wait", "--json", "--timeout", "2s")
	require.Equal(t, exit.Accepted, out.exit, out.stderr)
	require.Equal(t, "accepted", out.errorCode(t))
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address)
	require.Equal(t, exit.Done, c.run(t, "provision", "refuse-1").exit)
	require.Equal(t, exit.Done, c.run(t, "hold", "refuse-1", "--reason", "audit").exit)
	out := c.run(t, "delete", "refuse-1", "--reason", "r")
	require.Equal(t, exit.Refused, out.exit)
	require.Equal(t, "refuse-1: deletion_cancelled\n", out.stdout)
	require.Contains(t, out.stderr, "starter: the store of refuse-1 stays: the store is held by ann: audit; release it first")

	// Knowledge from the future, by this machine's clock.
	_, err := in.orch.Apply(t.Context(), contract.Event{
		DeliveryID: "future", Type: contract.WorkspaceCreated, InstanceID: "refuse-2", Source: contract.SourceWebhook,
		Timestamp: time.Now().Add(time.Hour),
	}, 10*time.Second)
	require.NoError(t, err)
	out = c.run(t, "delete", "refuse-2", "--reason", "r", "--json")
	require.Equal(t, exit.Refused, out.exit)
	require.Equal(t, "stale_ignored", out.errorCode(t))
	require.Contains(t, out.stderr, "clock")
}

func TestAnEventThatIsNotWaitedForIsAccepted(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address)
	out := c.run(t, "provision", "idle-1", "--wait", "0s", "--json")
	require.Equal(t, exit.Accepted, out.exit, out.stderr)
	require.Equal(t, "accepted", out.fields(t)["status"])
	require.Equal(t, "accepted", out.errorCode(t))
	require.Eventually(t, func() bool {
		_, err := in.registry.Get(t.Context(), "idle-1")
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

func TestWithoutAWorkerEventsAreAcceptedAndTheWorkerIsMissed(t *testing.T) {
	t.Parallel()
	server, err := temporalserver.Start(t.Context(), temporalserver.Options{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	c := setup(t, "TEMPORAL_ADDRESS="+server.Addr(), "STOREKEEPER_URL="+edgeOver(t, storetest.Open(t, storetest.Settings{})))
	out := c.run(t, "provision", "ws-1", "--wait", "100ms")
	require.Equal(t, exit.Accepted, out.exit, out.stderr)
	require.Equal(t, "ws-1: accepted\n", out.stdout)
	require.Contains(t, out.stderr, "start cmd/worker")
	for _, args := range [][]string{
		{"status", "ws-1", "--timeout", "2s"}, {"drift"}, {"reconcile", "--wait"}, {"reconcile", "--apply", "0123456789abcdef", "--reason", "r"},
	} {
		out = c.run(t, append(args, "--json")...)
		require.Equal(t, exit.Unreachable, out.exit, "%v: %s", args, out.stderr)
		require.Equal(t, "no_worker", out.errorCode(t), args)
	}
	out = c.run(t, "cancel-delete", "ws-1", "--reason", "r", "--json", "--timeout", "2s")
	require.Equal(t, exit.Accepted, out.exit, "the signal is durable without a worker: %s", out.stderr)
}

func TestANamespaceThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	in := installed(t)
	c := setup(t, "TEMPORAL_ADDRESS="+in.address, "TEMPORAL_API_KEY="+testAPIKey, "TEMPORAL_TLS=false")
	for _, args := range [][]string{{"provision", "ws-1", "--wait", "100ms"}, {"reconcile"}, {"cancel-delete", "ws-1", "--reason", "r"}} {
		out := c.run(t, append(args, "--namespace", "nowhere")...)
		require.Equal(t, exit.Unreachable, out.exit)
		require.Contains(t, out.stderr, `no namespace "nowhere"`)
	}
}
