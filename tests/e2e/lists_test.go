package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
	"storekeeper/internal/demo"
	"storekeeper/internal/httpclient"
	"storekeeper/tests/harness"
)

// saysRefused says whether health is about a token that the Auth Worker has refused.
func saysRefused(in *harness.Installation) bool {
	health := in.Do(http.MethodGet, in.EdgeURL+"/health", "")
	reasons, _ := health.JSON("reasons").([]any)
	return health.Code == http.StatusServiceUnavailable && len(reasons) == 1 && reasons[0] == "authWorker: the Auth Worker refused the token"
}

func healthy(in *harness.Installation) bool {
	return in.Do(http.MethodGet, in.EdgeURL+"/health", "").Code == http.StatusOK
}

func TestAWrongTokenShowsAtOnceAndGoesWithTheFirstList(t *testing.T) {
	t.Parallel()
	s := startSplit(t)
	right := s.auth
	var err error
	s.auth, err = authclient.New(authclient.Options{BaseURL: s.authURL, Token: httpclient.Fixed("wrong")})
	require.NoError(t, err)
	stop := s.startWorker(t)
	s.Eventually("the edge, which asks for no list, knows of it", func() bool { return saysRefused(s.Installation) })
	stop()
	s.auth = right
	s.startWorker(t)
	s.Eventually("mended", func() bool { return healthy(s.Installation) })
}

func TestInOneProcessAFailedListShowsAtOnceAndGoesWithTheNext(t *testing.T) {
	t.Parallel()
	in := harness.Start(t)
	require.True(t, healthy(in))
	in.Auth.SetFault(demo.FaultFewerThanClaimed)
	run, err := in.Orchestrator.StartReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	in.Eventually("damaged", func() bool {
		return in.Do(http.MethodGet, in.EdgeURL+"/health", "").JSON("checks.authWorker.error") == "the Auth Worker's list is damaged"
	})
	in.Auth.SetFault(demo.FaultNone)
	_, _ = run.Wait(t.Context()) // it may have been tried for the last time
	_, err = in.Orchestrator.JoinReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	in.Eventually("mended", func() bool { return healthy(in) })
}
