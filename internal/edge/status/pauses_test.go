package status

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

// kinds are those of pauses in an answer.
func kinds(pauses any) (all []string) {
	for _, p := range pauses.([]any) {
		all = append(all, p.(map[string]any)["kind"].(string))
	}
	return all
}

func TestAllPausesAreOneStateWhateverTheyWereMadeWith(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.ReconcileEnabled = false })
	none := f.Get(t, "/admin/pause").JSON(t)
	require.Equal(t, []string{"setting"}, kinds(none["pauses"]))
	require.Equal(t, true, none["paused"])

	require.Equal(t, 200, f.Ask(t, http.MethodPut, "/admin/pause", `{"reason":"the list is rebuilt","actor":"ann"}`).Status)
	require.Equal(t, 200, f.Ask(t, http.MethodPut, "/stores/"+storeA+"/pause", `{"reason":"audit","actor":"bob"}`).Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Paused = true })
	all := f.Get(t, "/admin/pause").JSON(t)["pauses"].([]any)
	require.Equal(t, []string{"setting", "schedule", "pause", "pause"}, kinds(all))
	require.Equal(t, "paused by "+storeA, all[1].(map[string]any)["reason"])
	require.Equal(t, "ann", all[2].(map[string]any)["actor"])
	require.Equal(t, storeA, all[3].(map[string]any)["storeId"])

	resumed := f.Ask(t, http.MethodDelete, "/admin/pause?reason=done&actor=ann", "").JSON(t)
	require.Equal(t, []string{"schedule", "pause"}, kinds(resumed["ended"]))
	require.Equal(t, []string{"setting"}, kinds(resumed["remaining"]), "no operator ends it")
	f.Temporal.Set(func(o *edgetest.Orchestrator) {
		require.False(t, o.Paused)
		require.Equal(t, "resumed by ann: done", o.Note)
	})
	page, err := f.Registry.Audit(t.Context(), storemanager.AuditQuery{Kinds: []storemanager.AuditKind{storemanager.AuditResume}})
	require.NoError(t, err)
	require.Len(t, page.Entries, 1)
	require.Equal(t, "ann", page.Entries[0].Actor)
	require.Equal(t, "done", page.Entries[0].Reason)
	require.Equal(t, "the pause of the schedule: paused by "+storeA, page.Entries[0].Detail)
	require.NotEmpty(t, page.Entries[0].RequestID)

	one := f.Ask(t, http.MethodDelete, "/stores/"+storeA+"/pause", "").JSON(t)
	require.Equal(t, []string{"pause"}, kinds(one["ended"]))
	require.Equal(t, []string{"setting"}, kinds(one["remaining"]), "what keeps reconciliation from all stores keeps it from this one")
}

func TestAPauseOfAllIsNotEndedByThatOfOneStore(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.Ask(t, http.MethodPut, "/admin/pause", `{"reason":"r","actor":"ann"}`).Status)
	one := f.Ask(t, http.MethodDelete, "/stores/"+storeA+"/pause", "").JSON(t)
	require.Empty(t, one["ended"])
	require.Equal(t, []string{"pause"}, kinds(one["remaining"]))
	require.Equal(t, true, f.Get(t, "/admin/pause").JSON(t)["paused"])
}

func TestNothingIsResumedWhileTemporalCannotSayWhetherItsScheduleIsPaused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	require.Equal(t, 200, f.Ask(t, http.MethodPut, "/admin/pause", `{"reason":"r","actor":"ann"}`).Status)
	f.Temporal.Set(func(o *edgetest.Orchestrator) { o.Down = true })
	require.Equal(t, 503, f.Ask(t, http.MethodDelete, "/admin/pause", "").Status)
	require.Equal(t, 503, f.Get(t, "/admin/pause").Status)
	pauses, err := f.Registry.Pauses(t.Context())
	require.NoError(t, err)
	require.Len(t, pauses, 1)
}
