package activities_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// The contract may not import the store manager, and the activities pass these values on as they are.
func TestContractAndStoreManagerHaveTheSameValues(t *testing.T) {
	t.Parallel()
	for ours, theirs := range map[contract.DeletionOutcome]storemanager.DeletionOutcome{
		contract.DeletionScheduled:      storemanager.DeletionScheduled,
		contract.DeletionAlreadyStopped: storemanager.DeletionAlreadyStopped,
		contract.DeletionStale:          storemanager.DeletionStale,
		contract.DeletionHeld:           storemanager.DeletionHeld,
		contract.DeletionPinned:         storemanager.DeletionPinned,
	} {
		require.Equal(t, string(theirs), string(ours))
	}
	for ours, theirs := range map[contract.GuardVerdict]storemanager.GuardVerdict{
		contract.GuardKeepsBack: storemanager.GuardKeepsBack,
		contract.GuardCleared:   storemanager.GuardCleared,
		contract.GuardApproved:  storemanager.GuardApproved,
	} {
		require.Equal(t, string(theirs), string(ours))
	}
}
