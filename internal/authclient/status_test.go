package authclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
)

func body(text string) io.ReadCloser { return io.NopCloser(strings.NewReader(text)) }

func TestTheStatusIsThatOfTheNewestListWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	var code atomic.Int32
	code.Store(http.StatusOK)
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(code.Load()))
		_, _ = io.WriteString(w, listText("abc"))
	}), func(o *authclient.Options) { o.ListMaxAge = time.Millisecond })
	require.Equal(t, authclient.Status{Ended: map[authclient.Outcome]int64{}}, c.Status())

	l := sorted(t, c)
	s := c.Status()
	require.NoError(t, s.Err)
	require.True(t, s.ListAt.Equal(l.FetchStartedAt))
	require.False(t, s.EndedAt.Before(s.ListAt))

	code.Store(http.StatusForbidden)
	_, err := c.Absent(t.Context(), "abc")
	require.ErrorIs(t, err, authclient.ErrUnauthorized)
	require.ErrorIs(t, c.Status().Err, authclient.ErrUnauthorized)
	require.True(t, c.Status().ListAt.Equal(l.FetchStartedAt), "the newest complete one")
	code.Store(http.StatusBadGateway)
	_, err = c.List(t.Context(), ignore)
	require.Error(t, err)
	code.Store(http.StatusOK)
	_, err = c.List(t.Context(), ignore)
	require.NoError(t, err)
	require.NoError(t, c.Status().Err)
	require.Equal(t, map[authclient.Outcome]int64{
		authclient.OutcomeComplete: 2, authclient.OutcomeUnauthorized: 1, authclient.OutcomeFailed: 1,
	}, c.Status().Ended)
}

func TestWhatTheCallerCausedIsNoFaultOfTheAuthWorker(t *testing.T) {
	t.Parallel()
	c := newClient(t, serveText(t, listText("abc")), nil)
	full := errors.New("the disk is full")
	_, err := c.List(t.Context(), func(authclient.Workspace) error { return full })
	require.ErrorIs(t, err, full)
	ended, end := context.WithCancel(t.Context())
	end()
	_, err = c.List(ended, ignore)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, c.Status().Ended)
	require.NoError(t, c.Status().Err)
}

func TestOneHugeRetryAfterSilencesReChecksForAMinuteAtTheMost(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		refusals := 1
		answer := func(w http.ResponseWriter, _ *http.Request) {
			if refusals > 0 {
				refusals--
				w.Header().Set("Retry-After", "31536000")
				w.WriteHeader(code)
				return
			}
			emptyList(w, nil)
		}
		paced(t, answer, func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration) {
			_, err := c.Absent(t.Context(), "abc")
			var status *authclient.StatusError
			require.ErrorAs(t, err, &status)
			require.Equal(t, time.Minute, status.RetryAfter, "what is handed on is bounded too")
			require.Equal(t, time.Now().Add(time.Minute), c.Status().QuietUntil)

			waiting := ask(t.Context(), c, "abc")
			require.Equal(t, c.Status().QuietUntil, c.Status().NextAt)
			require.NoError(t, (<-waiting).err)
			require.Equal(t, []time.Duration{0, time.Minute}, askedAt())
			require.Zero(t, c.Status().QuietUntil)
			require.Zero(t, c.Status().NextAt)
		})
	}
}

func TestReconciliationMayTryAtOnceAndItsListEndsTheSilence(t *testing.T) {
	t.Parallel()
	refusals := 1
	answer := func(w http.ResponseWriter, _ *http.Request) {
		if refusals > 0 {
			refusals--
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		emptyList(w, nil)
	}
	paced(t, answer, func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration) {
		_, err := c.Sorted(t.Context(), nil)
		require.Error(t, err)
		require.NotZero(t, c.Status().QuietUntil)
		<-time.After(time.Second)
		l := sorted(t, c)
		require.Zero(t, l.Entries)
		require.Zero(t, c.Status().QuietUntil)
		_, err = c.Absent(t.Context(), "abc")
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, time.Second, time.Second}, askedAt())
	})
}

func TestAnErrorIsKnownAgainByItsText(t *testing.T) {
	t.Parallel()
	damaged := newClient(t, serveText(t, `{"workspaces":[`), nil)
	_, err := damaged.Sorted(t.Context(), nil)
	require.ErrorIs(t, authclient.FromText("activity error: "+err.Error()), authclient.ErrDamaged)
	_, err = withHeader(t, "Age", "7").Absent(t.Context(), "abc")
	require.ErrorIs(t, authclient.FromText(err.Error()), authclient.ErrCached)
	_, err = newClient(t, serve(t, stall("")), func(o *authclient.Options) { o.IdleTimeout = time.Millisecond }).Sorted(t.Context(), nil)
	require.ErrorIs(t, authclient.FromText(err.Error()), authclient.ErrTimeout)
	_, err = newClient(t, "http://127.0.0.1:1", nil).Sorted(t.Context(), nil)
	require.Error(t, authclient.FromText(err.Error()))
	for _, code := range []int{401, 403, 429, 500} {
		var status *authclient.StatusError
		require.ErrorAs(t, authclient.FromText(fmt.Sprint("x: ", &authclient.StatusError{Code: code, Message: "no"})), &status)
		require.Equal(t, code, status.Code)
	}
	require.ErrorIs(t, authclient.FromText((&authclient.StatusError{Code: 403}).Error()), authclient.ErrUnauthorized)
	for _, other := range []string{"", "store manager: unauthorized", "database is locked", "cancelled", "timed out"} {
		require.NoError(t, authclient.FromText(other), other)
	}
}
