package storemanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fill ensures n stores, in batches.
func fill(t testing.TB, r Manager, n int) {
	t.Helper()
	for first := 0; first < n; first += MaxBatch {
		_, err := r.EnsureBatch(t.Context(), batch(first, min(MaxBatch, n-first), t0))
		require.NoError(t, err)
	}
}

func batch(first, n int, at time.Time) []EnsureRequest {
	qs := make([]EnsureRequest, n)
	for i := range qs {
		qs[i] = EnsureRequest{StoreID: fmt.Sprintf("store-%07d", first+i), At: at}
	}
	return qs
}
