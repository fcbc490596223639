package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/tests/harness"
)

func TestNoFaultyListRemovesAnything(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "DELETION_GRACE_PERIOD=0s")
	user := in.SignUp()
	ids := []string{user.Default}
	for range 9 {
		ids = append(ids, user.Create())
	}
	second := in.SignUp()
	ids = append(ids, second.Default)
	in.Eventually("all are monitored", func() bool {
		o, err := in.Stores.Overview(t.Context())
		return err == nil && o.Monitored == len(ids)
	})
	for name, tc := range map[string]struct { //nolint:paralleltest // one installation, one fault at a time
		fault demo.Fault
		fails bool
	}{
		"empty":                   {demo.FaultEmpty, false},
		"truncated":               {demo.FaultTruncated, true},
		"failing":                 {demo.FaultFailing, true},
		"garbage":                 {demo.FaultGarbage, true},
		"an entry without an id":  {demo.FaultEntryWithoutID, true},
		"fewer than it claims":    {demo.FaultFewerThanClaimed, true},
		"a part of it is missing": {demo.FaultPartial, false},
	} {
		t.Run(name, func(t *testing.T) {
			in.Auth.SetFault(tc.fault)
			defer in.Auth.SetFault(demo.FaultNone)
			if tc.fails {
				r := in.Reconcile()
				require.Equal(t, http.StatusInternalServerError, r.Code, r.Body)
				require.Equal(t, "failed", r.JSON("status"))
			} else {
				for range 3 { // two lists that agree are not enough
					r := in.Reconcile()
					require.Equal(t, http.StatusOK, r.Code, r.Body)
					require.EqualValues(t, 0, r.JSON("result.removed"), r.Body)
				}
			}
			o, err := in.Stores.Overview(t.Context())
			require.NoError(t, err)
			require.Equal(t, len(ids), o.Monitored)
			require.Zero(t, o.DeletionPending)
		})
	}
	r := in.Reconcile()
	require.Equal(t, http.StatusOK, r.Code, r.Body)
	require.EqualValues(t, 0, r.JSON("result.driftCount"), "nothing of it left a trace")
}

func TestASlowListBlocksNoWebhookAndRemovesNothing(t *testing.T) {
	t.Parallel()
	in := harness.Start(t, "WEBHOOK_WAIT=30s")
	in.SignUp()
	in.Auth.SetFault(demo.FaultSlow)
	require.NoError(t, in.Orchestrator.RequestReconcile(t.Context(), reconcileInput))
	id := uuid.NewString()
	require.Equal(t, "monitoring_started", in.Webhook("workspace.created", id, time.Now()).JSON("status"))
	r := in.Edge(http.MethodPost, "/admin/reconcile")
	require.Equal(t, http.StatusConflict, r.Code, "the slow run is still under way")
	in.Auth.SetFault(demo.FaultNone)
	in.Eventually("the run ends", func() bool { return in.Edge(http.MethodPost, "/admin/reconcile").Code == http.StatusOK })
	require.True(t, in.Monitored(id), "a store that came while the list was in flight is no orphan")
}

func TestAFailedReconcileShowsAndTheNextOneHeals(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	in.Auth.SetFault(demo.FaultGarbage)
	require.Equal(t, http.StatusInternalServerError, in.Reconcile().Code)
	r := in.Edge(http.MethodGet, "/health")
	require.Contains(t, r.JSON("reconciliation.lastError.message"), "damaged")
	require.EqualValues(t, 1, r.JSON("reconciliation.totals.failures"))
	in.Auth.SetFault(demo.FaultNone)
	require.Equal(t, http.StatusOK, in.Reconcile().Code)
}
