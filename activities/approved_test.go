package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWhatIsLeftOfAnApprovedPlanPassesAndNoMore(t *testing.T) {
	t.Parallel()
	tripped := 0
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		w.in.Mode, w.in.Confirm, w.guard, w.registered = ModeFull, true, Guard{}, 0
		plan := w.plan("").finish()
		if plan.Guard == "" || len(w.listed) == 0 {
			return
		}
		tripped++
		w.in.ApprovedOrphans = plan.OrphanCount + rapid.IntRange(0, 3).Draw(t, "removed meanwhile")
		left := w.plan("").finish()
		require.Empty(t, left.Guard)
		require.Len(t, left.Orphans, plan.OrphanCount)
		w.in.ApprovedOrphans = plan.OrphanCount - 1
		more := w.plan("").finish()
		require.Equal(t, plan.Guard, more.Guard)
		require.Empty(t, more.Orphans)
	})
	require.Greater(t, tripped, plannerCases/20, "the worlds show nothing of it")
}

func TestALimitMeansNothingBelowTheLeastNumberOfStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stores int
		held   bool
	}{{guardMinMonitored - 1, false}, {guardMinMonitored, true}} {
		w := someWorld(tt.stores)
		w.guard = Guard{}
		s := w.stores[storeID(0)]
		s.MissingSince = new(planStart.Add(-time.Minute))
		w.stores[storeID(0)] = s
		delete(w.listed, storeID(0))
		plan := w.plan("").finish()
		require.Equal(t, 1, plan.OrphanCount)
		require.Equal(t, tt.held, plan.Guard != "", "%d stores", tt.stores)
	}
}
