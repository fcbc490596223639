package storemanager

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// An empty id in a path must not become the pause of all stores.
func TestAPathWithoutAnIDPausesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// Not held against openapi.json, which has no such path.
	h := handler(b.registry, testToken, nil)
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		b.pause(t, allPaused)
		before := b.pauses(t)
		resp := sendUndescribed(t, h, method, "/v1/stores//pause", bearer, `{"reason":"another","actor":"a"}`)
		require.NotEqual(t, http.StatusOK, resp.status)
		require.Equal(t, before, b.pauses(t))
	}
}
