package activities_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/storemanager"
)

func (b *bundle) resume() (contract.ResumeResult, error) {
	b.t.Helper()
	v, err := b.env.ExecuteActivity(b.act.ResumeDeletions)
	if err != nil {
		return contract.ResumeResult{}, err
	}
	var res contract.ResumeResult
	require.NoError(b.t, v.Get(&res))
	return res, nil
}

func TestANewDatabaseOfTemporalIsToldOfEventsWithoutAnOutcomeOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.resume()
	require.NoError(t, err)
	for i := range storemanager.MaxBatch + 1 {
		require.NoError(t, b.registry.KeepAccepted(t.Context(), deliveries.AcceptedEvent{
			DeliveryID: fmt.Sprintf("evt_%05d", i), StoreID: "store-000001", EventAt: b.now, Event: json.RawMessage(fmt.Sprint(i)),
		}))
	}
	res, err := b.resume()
	require.NoError(t, err)
	require.Zero(t, res.Repeated, "it knows them")
	require.Empty(t, b.deletion.repeated)

	b.monitored(ids(2, 3))
	b.deletedByEvents(ids(2, 3))
	b.deletion.engine = "second"
	b.deletion.fail = map[string]bool{"1000": true}
	_, err = b.resume()
	require.Error(t, err)
	require.Len(t, b.deletion.repeated, storemanager.MaxBatch)
	require.Equal(t, ids(2, 3), b.deletion.resumed, "an event that can't be told keeps no deletion waiting")

	b.deletion.fail, b.deletion.repeated = nil, nil
	res, err = b.resume()
	require.NoError(t, err)
	require.Equal(t, storemanager.MaxBatch+1, res.Repeated, "all of them, for one had failed")
	require.Len(t, b.deletion.repeated, storemanager.MaxBatch+1)

	res, err = b.resume()
	require.NoError(t, err)
	require.Zero(t, res.Repeated)
}
