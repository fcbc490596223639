package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
)

func TestTheDescriptionHasTheConditionsInTheirOrder(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	var want, got []string
	for _, c := range conditions(storemanager.Store{}, surroundings{now: time.Now()}) {
		want = append(want, string(c.Type))
	}
	for _, v := range described.Closed.Components.Schemas["Condition"].Value.Properties["type"].Value.Enum {
		got = append(got, v.(string))
	}
	require.Equal(t, want, got)
}

func TestTheDescriptionHasTheBoundOfPauses(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	require.EqualValues(t, shownPauses, *described.Closed.Components.Schemas["Pauses"].Value.Properties["stores"].Value.MaxItems)
}
