package authclient_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
	"storekeeper/internal/httpclient"
)

func directory(t *testing.T, body string) (*authclient.Directory, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	t.Cleanup(server.Close)
	c, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed("token")})
	require.NoError(t, err)
	return c.Directory(t.Context())
}

func TestADirectoryHasNamesMembersAndTimes(t *testing.T) {
	t.Parallel()
	d, err := directory(t, `{"workspaces":[
		{"instanceId":"ws-b","userId":"u-2","name":"Shared \u00e9","createdAt":"2026-01-02T03:04:05+01:00","isDefault":true},
		{"instanceId":"ws-a","userId":"u-1","name":null,"createdAt":"yesterday"},
		{"name":"Shared \u00e9","instanceId":"ws-b","userId":"u-1"},
		{"instanceId":"../odd","userId":"u-1","name":"odd"},
		{"instanceId":"ws-c","userId":"u-3","name":{"first":"Ann"},"createdAt":17}]}`)
	require.NoError(t, err)
	require.Equal(t, 5, d.Entries)
	var all []authclient.Details
	for w := range d.From("") {
		all = append(all, w)
	}
	require.Equal(t, []authclient.Details{
		{ID: "ws-a", UserIDs: []string{"u-1"}},
		{ID: "ws-b", Name: "Shared é", CreatedAt: time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC), UserIDs: []string{"u-1", "u-2"}},
		{ID: "ws-c", UserIDs: []string{"u-3"}},
	}, all)
	for range d.From("ws-d") {
		require.Fail(t, "there is nothing after the last")
	}
	_, ok := d.Details("ws-")
	require.False(t, ok, "a beginning is no id")
	w, ok := d.Details("ws-b")
	require.True(t, ok)
	require.Equal(t, "Shared é", w.Name)
}

func TestALongOrBrokenNameDamagesNothing(t *testing.T) {
	t.Parallel()
	d, err := directory(t, `{"workspaces":[{"instanceId":"ws-a","name":"`+strings.Repeat("ä", 5000)+`"},{"instanceId":"ws-b","name":"half `+"\xc3"+`"}]}`)
	require.NoError(t, err)
	w, _ := d.Details("ws-a")
	require.Equal(t, strings.Repeat("ä", 512), w.Name)
	w, _ = d.Details("ws-b")
	require.Equal(t, "half \ufffd", w.Name)
}

func TestADamagedListMakesNoDirectory(t *testing.T) {
	t.Parallel()
	_, err := directory(t, `{"workspaces":[{"instanceId":"ws-a","name":"A"}`)
	require.ErrorIs(t, err, authclient.ErrDamaged)
}
