package authclient_test

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
)

// withHeader answers with the list abc and the headers, names and values in turn.
func withHeader(t *testing.T, header ...string) *authclient.Client {
	t.Helper()
	return newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		_, _ = io.WriteString(w, listText("abc"))
	}), nil)
}

func TestCachesAreAskedForAFreshList(t *testing.T) {
	t.Parallel()
	var asked http.Header
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, listText("abc"))
	}), nil)
	for name, ask := range map[string]func() error{
		"list":   func() error { _, err := c.List(t.Context(), ignore); return err },
		"absent": func() error { _, err := c.Absent(t.Context(), "abc"); return err },
		"sorted": func() error { sorted(t, c); return nil },
		"again":  func() error { sorted(t, c); return nil },
	} {
		require.NoError(t, ask(), name)
		require.Equal(t, "no-cache", asked.Get("Cache-Control"), name)
		require.Equal(t, "no-cache", asked.Get("Pragma"), name)
	}
}

func TestAListCountsFromWhenTheAuthWorkerGaveIt(t *testing.T) {
	t.Parallel()
	for age, want := range map[string]time.Duration{"0": 0, "1": time.Second, " 5400 ": 90 * time.Minute, "86400": 24 * time.Hour} {
		t.Run(age, func(t *testing.T) {
			t.Parallel()
			before := time.Now().Add(-want)
			c := withHeader(t, "Age", age)
			l := sorted(t, c)
			require.WithinRange(t, l.FetchStartedAt, before, time.Now().Add(-want))
			require.True(t, l.FetchStartedAt.Equal(c.Status().ListAt))
			summary, err := withHeader(t, "Age", age).List(t.Context(), ignore)
			require.NoError(t, err)
			require.WithinRange(t, summary.FetchStartedAt, before, time.Now().Add(-want))
		})
	}
}

func TestTheOldestPageSaysFromWhenAListCounts(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("cursor") == "" {
			_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"abc"}],"nextCursor":"2"}`)
			return
		}
		w.Header().Set("Age", "60")
		_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"abd"}],"metadata":{"totalWorkspaces":2}}`)
	})
	before := time.Now().Add(-time.Minute)
	require.WithinRange(t, sorted(t, newClient(t, url, nil)).FetchStartedAt, before, time.Now().Add(-time.Minute))
}

func TestACachedListConfirmsNoAbsence(t *testing.T) {
	t.Parallel()
	for _, age := range []string{"1", "5400"} {
		c := withHeader(t, "Age", age)
		_, err := c.Absent(t.Context(), "gone")
		require.ErrorIs(t, err, authclient.ErrCached)
		require.NotErrorIs(t, err, authclient.ErrDamaged)
		require.ErrorIs(t, c.Status().Err, authclient.ErrCached)
	}
	calledAt := time.Now()
	got, err := withHeader(t, "Age", "0").Absent(t.Context(), "gone")
	require.NoError(t, err, "a cache that has just asked")
	require.True(t, got.Absent)
	require.False(t, got.FetchedAt.Before(calledAt))
}

func TestAnAgeThatCantBeBelievedMakesTheListWorthless(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header []string
		want   error
	}{
		"negative":                 {[]string{"Age", "-5"}, authclient.ErrDamaged},
		"a word":                   {[]string{"Age", "old"}, authclient.ErrDamaged},
		"empty":                    {[]string{"Age", ""}, authclient.ErrDamaged},
		"a fraction":               {[]string{"Age", "1.5"}, authclient.ErrDamaged},
		"two in one":               {[]string{"Age", "0, 5400"}, authclient.ErrDamaged},
		"two":                      {[]string{"Age", "0", "Age", "5400"}, authclient.ErrDamaged},
		"more than a day":          {[]string{"Age", "86401"}, authclient.ErrCached},
		"more than any number has": {[]string{"Age", "99999999999999999999999"}, authclient.ErrCached},
		"a cache says it is stale": {[]string{"Warning", `110 - "Response is Stale"`}, authclient.ErrCached},
		"a cache could not ask":    {[]string{"Age", "0", "Warning", `199 - "x"`, "Warning", `111 - "Revalidation Failed"`}, authclient.ErrCached},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := withHeader(t, c.header...).Sorted(t.Context(), nil)
			require.ErrorIs(t, err, c.want)
			_, err = withHeader(t, c.header...).Absent(t.Context(), "gone")
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestWhatIsNoProofOfAnAgeChangesNothing(t *testing.T) {
	t.Parallel()
	before := time.Now()
	l := sorted(t, withHeader(t, "Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), "X-Cache", "HIT", "Warning", `199 - "whatever"`))
	require.WithinRange(t, l.FetchStartedAt, before, time.Now())
}

func TestTheSameCachedAnswerDoesNotCountTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := time.Now()
		<-time.After(time.Minute)
		answer := roundTrip(func(*http.Request) (*http.Response, error) {
			w := http.Header{"Age": {strconv.Itoa(int(time.Since(given) / time.Second))}}
			return &http.Response{StatusCode: http.StatusOK, Header: w, Body: body(listText("abc"))}, nil
		})
		c := newClient(t, "http://auth.example.com", func(o *authclient.Options) { o.HTTPClient = &http.Client{Transport: answer} })
		l := sorted(t, c)
		require.True(t, given.Equal(l.FetchStartedAt))
		<-time.After(time.Hour)
		_, err := c.Sorted(t.Context(), nil)
		require.ErrorIs(t, err, authclient.ErrCached)
		given = time.Now()
		<-time.After(time.Minute)
		require.True(t, given.Equal(sorted(t, c).FetchStartedAt), "the cache has asked again")
	})
}

func TestAListThatIsSaidNotToHaveChangedCountsFromWhenThatWasSaid(t *testing.T) {
	t.Parallel()
	var age atomic.Value
	c := newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if a, _ := age.Load().(string); a != "" {
			w.Header().Set("Age", a)
		}
		w.Header().Set("ETag", `"v1"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, listText("abc"))
	}), nil)
	age.Store("600")
	first := sorted(t, c)
	age.Store("60")
	second := sorted(t, c)
	require.WithinDuration(t, first.FetchStartedAt.Add(9*time.Minute), second.FetchStartedAt, 10*time.Second)
	age.Store("3600")
	_, err := c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrCached)
}

func TestMetadataThatVanishAreDamage(t *testing.T) {
	t.Parallel()
	var text atomic.Value
	text.Store(`{"workspaces":[{"instanceId":"abc"}]}`)
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text.Load().(string)) }), nil)
	sorted(t, c)
	sorted(t, c)
	text.Store(listText("abc", "abd"))
	sorted(t, c)
	text.Store(`{"workspaces":[{"instanceId":"abc"}]}`)
	_, err := c.Sorted(t.Context(), nil)
	require.ErrorIs(t, err, authclient.ErrDamaged)
	require.ErrorContains(t, err, "no metadata, and earlier ones had")
	text.Store(listText("abc"))
	sorted(t, c)
}
