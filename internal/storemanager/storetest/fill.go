package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

// Fill ensures n stores, in batches.
func Fill(t testing.TB, r storemanager.Manager, n int) {
	t.Helper()
	for first := 0; first < n; first += storemanager.MaxBatch {
		_, err := r.EnsureBatch(t.Context(), Batch(first, min(storemanager.MaxBatch, n-first), T0))
		require.NoError(t, err)
	}
}

// Batch is a request for each of n stores, as of a moment. The stores are numbered from first on.
func Batch(first, n int, at time.Time) []storemanager.EnsureRequest {
	qs := make([]storemanager.EnsureRequest, n)
	for i := range qs {
		qs[i] = storemanager.EnsureRequest{StoreID: fmt.Sprintf("store-%07d", first+i), At: at}
	}
	return qs
}
