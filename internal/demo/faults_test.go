package demo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
)

func TestEachFaultMakesTheListFaultyInItsWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault demo.Fault
		check func(t *testing.T, got answer, l list, jsonErr error)
	}{
		{"empty", demo.FaultEmpty, func(t *testing.T, got answer, _ list, _ error) {
			require.JSONEq(t, `{"workspaces":[],"metadata":{"totalUsers":0,"totalWorkspaces":0}}`, string(got.body))
		}},
		{"truncated", demo.FaultTruncated, func(t *testing.T, got answer, _ list, jsonErr error) {
			require.Equal(t, 200, got.status)
			require.ErrorContains(t, jsonErr, "unexpected end of JSON input")
		}},
		{"failing", demo.FaultFailing, func(t *testing.T, got answer, _ list, _ error) {
			require.Equal(t, 500, got.status)
		}},
		{"garbage", demo.FaultGarbage, func(t *testing.T, got answer, _ list, jsonErr error) {
			require.Equal(t, 200, got.status)
			require.Error(t, jsonErr)
		}},
		{"an entry without an id", demo.FaultEntryWithoutID, func(t *testing.T, got answer, l list, _ error) {
			require.Contains(t, l.ids(), "")
			require.NotContains(t, string(got.body), `"instanceId":""`)
			require.Equal(t, len(l.Workspaces), l.Metadata.TotalWorkspaces)
		}},
		{"fewer entries than claimed", demo.FaultFewerThanClaimed, func(t *testing.T, _ answer, l list, _ error) {
			require.Less(t, len(l.Workspaces), l.Metadata.TotalWorkspaces)
		}},
		{"a part is missing", demo.FaultPartial, func(t *testing.T, _ answer, l list, _ error) {
			require.Less(t, len(l.Workspaces), 3)
			require.Equal(t, len(l.Workspaces), l.Metadata.TotalWorkspaces)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			ann := b.signup("ann@example.com")
			b.create(ann.AccessToken, "Garden")
			b.create(ann.AccessToken, "House")
			b.SetFault(c.fault)
			got := b.do("GET", "/internal/workspaces", bypassToken, nil)
			var l list
			err := json.Unmarshal(got.body, &l)
			c.check(t, got, l, err)
			b.SetFault(demo.FaultNone)
			require.Len(t, b.list().Workspaces, 3)
		})
	}
}

func TestASlowListStandsStillUntilItIsReleased(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ann := b.signup("ann@example.com")
	b.SetFault(demo.FaultSlow)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL()+"/internal/workspaces", nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+bypassToken)
		resp, err := b.http.Do(req)
		require.NoError(t, err)
		return resp
	}
	impatient, patient := begin(ctx), begin(t.Context())
	defer impatient.Body.Close()
	defer patient.Body.Close()

	cancel()
	_, err := io.ReadAll(impatient.Body)
	require.ErrorIs(t, err, context.Canceled)

	id := b.create(ann.AccessToken, "Garden") // the stalled list does not stand in the way
	b.SetFault(demo.FaultNone)
	body, err := io.ReadAll(patient.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), ann.DefaultInstanceID)
	require.NotContains(t, string(body), id)
}
