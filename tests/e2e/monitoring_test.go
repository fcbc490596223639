package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

func TestAnEventOfAWorkspaceIsProcessed(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s")
	id := uuid.NewString()
	r := in.Webhook("workspace.created", id, time.Now())
	require.Equal(t, "monitoring_started", r.JSON("status"))
	require.Contains(t, []any{"connecting", "connected"}, r.JSON("connection"))
	in.Eventually("connected", func() bool { return in.Edge(http.MethodGet, "/stores/"+id).JSON("status") == "connected" })
	require.Equal(t, "connected", in.Webhook("workspace.created", id, time.Now()).JSON("connection"))

	conn, err := livestore.Dial(t.Context(), livestore.Options{
		URL: in.Sync.URL(), StoreID: id, Payload: map[string]string{"serverBypass": standalone.DemoBypassToken},
	})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.Push(t.Context(), "", []livestore.Event{{Name: "v1.Demo", Args: json.RawMessage(`{"private":"yes"}`), Seq: 1}}))
	in.Eventually("processed", func() bool { return in.Edge(http.MethodGet, "/stores/"+id).JSON("processed") == 1.0 })
	require.EqualValues(t, 1, in.Edge(http.MethodGet, "/stores/"+id).JSON("head"))
	in.Eventually("logged", func() bool { return strings.Contains(in.Logs.String(), `"v1.Demo"`) })
	require.NotContains(t, in.Logs.String(), "private", "what events hold is nobody's business")
}

func TestAStoreThatCannotConnectIsProvisionedAndSaysSoEverywhere(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s")
	in.Sync.SetFault(demo.SyncFaultRefuse)
	id := uuid.NewString()
	r := in.Webhook("workspace.created", id, time.Now())
	require.Equal(t, "monitoring_started", r.JSON("status"))
	require.Equal(t, "connecting", r.JSON("connection"), "nobody has asked the backend yet, or it has refused")
	in.Eventually("it says so", func() bool { return in.Edge(http.MethodGet, "/stores/"+id).JSON("status") == "disconnected" })
	store := in.Edge(http.MethodGet, "/stores/"+id)
	require.Contains(t, store.JSON("statusReason"), "status 503")
	require.Equal(t, false, store.JSON("networkStatus.isConnected"))
	require.Equal(t, "monitoring", store.JSON("orchestrator.status"))
	require.Equal(t, "disconnected", in.Webhook("workspace.created", id, time.Now()).JSON("connection"))
	require.Contains(t, in.Edge(http.MethodGet, "/stores?state=disconnected").Body, id)
	require.NotContains(t, in.Edge(http.MethodGet, "/stores?state=connected").Body, id)

	in.Eventually("health says so", func() bool {
		h := in.Do(http.MethodGet, in.EdgeURL+"/health", "")
		return h.Code == http.StatusServiceUnavailable && strings.Contains(h.Body, "no store is connected to its sync backend") &&
			strings.Contains(h.Body, "connections: 1 of 1 monitored stores: disconnected") && h.JSON("orchestrator.connections.disconnected") == 1.0
	})
	require.Equal(t, http.StatusOK, in.Do(http.MethodGet, in.EdgeURL+"/readyz", "").Code, "webhooks are welcome all the same")
	require.Contains(t, in.Do(http.MethodGet, in.EdgeURL+"/metrics", "").Body, `storekeeper_store_connections{connection="disconnected"} 1`)

	in.Sync.SetFault(demo.SyncFaultNone)
	in.Eventually("connected", func() bool { return in.Edge(http.MethodGet, "/stores/"+id).JSON("status") == "connected" })
	in.Eventually("healthy", func() bool { return in.Do(http.MethodGet, in.EdgeURL+"/health", "").Code == http.StatusOK })
}

func TestAStoppedStoreIsNoLongerSubscribed(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s", "DELETION_GRACE_PERIOD=0s")
	id := uuid.NewString()
	in.Webhook("workspace.created", id, time.Now())
	in.Eventually("subscribed", func() bool { return in.Sync.Pulls(id) == 1 })
	require.Equal(t, "monitoring_stopped", in.Webhook("workspace.deleted", id, time.Now()).JSON("status"))
	in.Eventually("not subscribed", func() bool { return in.Sync.Pulls(id) == 0 })
	require.Equal(t, "stopped", in.Edge(http.MethodGet, "/stores/"+id).JSON("status"))
}
