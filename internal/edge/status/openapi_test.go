package status

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/openapi"
)

func TestTheDescriptionHasTheConditionsInTheirOrder(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	var want []string
	for _, c := range conditions(storemanager.Store{}, surroundings{now: time.Now()}) {
		want = append(want, string(c.Type))
	}
	require.Equal(t, want, openapi.Enumeration(described.Closed.Components.Schemas["Condition"].Value.Properties["type"]))
}

func TestTheDescriptionHasTheBoundOfPauses(t *testing.T) {
	t.Parallel()
	described, err := edgetest.Describe()
	require.NoError(t, err)
	require.EqualValues(t, shownPauses, *described.Closed.Components.Schemas["Pauses"].Value.Properties["stores"].Value.MaxItems)
}
