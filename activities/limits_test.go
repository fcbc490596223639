package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALimitMeansNothingBelowTheLeastNumberOfStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stores int
		trips  bool
	}{{guardMinMonitored - 1, false}, {guardMinMonitored, true}} {
		w := someWorld(tt.stores)
		w.guard = GuardLimits{}
		s := w.stores[storeID(0)]
		s.UnlistedSince = new(planStart.Add(-time.Minute))
		w.stores[storeID(0)] = s
		delete(w.listed, storeID(0))
		plan := w.plan().finish()
		require.Equal(t, 1, plan.OrphanCount)
		require.Equal(t, tt.trips, plan.Guard != "", "%d stores", tt.stores)
	}
}
