package storehttp

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// An empty id in a path must not become the pause of all stores.
func TestAPathWithoutAnIDPausesNothing(t *testing.T) {
	t.Parallel()
	b := storetest.Setup(t)
	// Not held against openapi.json, which has no such path.
	h := handler(b.Registry, storetest.Token)
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		b.MustPause(t, storemanager.Pause{Reason: "the list is being repaired", Actor: "ops@example.com"})
		before := b.MustPauses(t)
		resp := sendUndescribed(t, h, method, "/v1/stores//pause", bearer, `{"reason":"another","actor":"a"}`)
		require.NotEqual(t, http.StatusOK, resp.status)
		require.Equal(t, before, b.MustPauses(t))
	}
}
