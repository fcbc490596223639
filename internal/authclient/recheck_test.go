package authclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/authclient"
	"storekeeper/internal/demo"
)

func TestAbsentAsksTheWholeList(t *testing.T) {
	t.Parallel()
	worker, _, present := startDemo(t, nil)
	c := newClient(t, worker.URL(), func(o *authclient.Options) { o.ListMaxAge = time.Millisecond })
	before := time.Now()
	got, err := c.Absent(t.Context(), present)
	require.NoError(t, err)
	require.False(t, got.Absent)
	require.Equal(t, 1, got.ListEntries)
	require.WithinRange(t, got.FetchedAt, before, time.Now())

	got, err = c.Absent(t.Context(), "unknown")
	require.NoError(t, err)
	require.True(t, got.Absent)

	worker.SetFault(demo.FaultTruncated)
	_, err = c.Absent(t.Context(), "unknown")
	require.ErrorIs(t, err, authclient.ErrDamaged)
}

func TestAThousandCallersShareAFewLists(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, `{"workspaces":[{"instanceId":"present","userId":"a"},{"instanceId":"present","userId":"b"}]}`)
	})
	c := newClient(t, url, func(o *authclient.Options) { o.ListMaxAge = 50 * time.Millisecond })
	var callers errgroup.Group
	for i := range 1000 {
		callers.Go(func() error {
			id := "present"
			if i%2 == 0 {
				id = fmt.Sprint("gone-", i)
			}
			got, err := c.Absent(t.Context(), id)
			if err == nil && (got.Absent != (i%2 == 0) || got.ListEntries != 2) {
				err = fmt.Errorf("%s: %+v", id, got)
			}
			return err
		})
	}
	require.NoError(t, callers.Wait())
	require.LessOrEqual(t, requests.Load(), int64(5))
}

// gate lets each list begin and end on command. It is for bubbles, where synctest.Wait tells when all callers wait.
type gate struct {
	begun chan struct{}
	// lists takes what each list is answered with.
	lists chan string
}

func newGate(t *testing.T) (*gate, *authclient.Client) {
	t.Helper()
	g := &gate{begun: make(chan struct{}), lists: make(chan string)}
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		select {
		case g.begun <- struct{}{}:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		select {
		case text := <-g.lists:
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text))}, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
	return g, newClient(t, "http://auth.example.com", func(o *authclient.Options) { o.HTTPClient = &http.Client{Transport: transport} })
}

type outcome struct {
	authclient.Absence
	err error
}

// ask calls Absent and returns once the call waits.
func ask(ctx context.Context, c *authclient.Client, id string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		got, err := c.Absent(ctx, id)
		done <- outcome{got, err}
	}()
	synctest.Wait()
	return done
}

func TestAListThatBeganBeforeTheCallAnswersNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t)
		early := ask(t.Context(), c, "abc")
		<-g.begun

		// The workspace is added after the first list began, and asked for after that.
		<-time.After(time.Second)
		calledAt := time.Now()
		late := ask(t.Context(), c, "abc")
		g.lists <- `{"workspaces":[]}`
		require.True(t, (<-early).Absent)
		<-g.begun
		require.Empty(t, late)
		g.lists <- `{"workspaces":[{"instanceId":"abc"}]}`
		got := <-late
		require.NoError(t, got.err)
		require.False(t, got.Absent)
		require.False(t, got.FetchedAt.Before(calledAt))
	})
}

func TestACallerWhoLeavesDisturbsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t)
		first := ask(t.Context(), c, "abc")
		<-g.begun
		beforeItsList, leaveBefore := context.WithCancel(t.Context())
		duringItsList, leaveDuring := context.WithCancel(t.Context())
		leaver, laterLeaver, patient := ask(beforeItsList, c, "abc"), ask(duringItsList, c, "abc"), ask(t.Context(), c, "abc")

		leaveBefore()
		require.ErrorIs(t, (<-leaver).err, context.Canceled)
		g.lists <- `{"workspaces":[]}`
		require.NoError(t, (<-first).err)
		<-g.begun
		leaveDuring()
		require.ErrorIs(t, (<-laterLeaver).err, context.Canceled)
		synctest.Wait()
		g.lists <- `{"workspaces":[]}`
		require.NoError(t, (<-patient).err)
	})
}

func TestWhenAllHaveLeftTheListIsGivenUpAndTheNextCallerStartsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t)
		ctx, leave := context.WithCancel(t.Context())
		abandoned := ask(ctx, c, "abc")
		<-g.begun
		alsoAbandoned := ask(ctx, c, "abc")
		leave()
		require.ErrorIs(t, (<-abandoned).err, context.Canceled)
		require.ErrorIs(t, (<-alsoAbandoned).err, context.Canceled)
		next := ask(t.Context(), c, "abc")
		<-g.begun
		g.lists <- `{"workspaces":[]}`
		require.True(t, (<-next).Absent)
	})
}

func TestAnErrorGoesToAllWhoShareTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t)
		first := ask(t.Context(), c, "abc")
		<-g.begun
		var waiting []<-chan outcome
		for i := range 10 {
			waiting = append(waiting, ask(t.Context(), c, fmt.Sprint("id-", i)))
		}
		g.lists <- `{"workspaces":[]}`
		require.NoError(t, (<-first).err)
		<-g.begun
		g.lists <- `{"workspaces":[{}]}`
		for _, w := range waiting {
			require.ErrorIs(t, (<-w).err, authclient.ErrDamaged)
		}
	})
}

// paced calls f in a bubble with a clock of its own: with a client of h, and with what tells when h was asked.
func paced(t *testing.T, h http.HandlerFunc, f func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var times []time.Duration
		// Without a network, which a bubble can't wait for.
		inProcess := roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			times = append(times, time.Since(start))
			mu.Unlock()
			w := httptest.NewRecorder()
			h(w, r)
			return w.Result(), nil
		})
		c := newClient(t, "http://auth.example.com", func(o *authclient.Options) {
			o.HTTPClient = &http.Client{Transport: inProcess}
		})
		f(t, c, func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return times
		})
	})
}

func TestARecheckIsAnsweredAtOnceAndTheNextAfterTheMaximumAge(t *testing.T) {
	t.Parallel()
	paced(t, emptyList, func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration) {
		for range 3 {
			_, err := c.Absent(t.Context(), "abc")
			require.NoError(t, err)
		}
		<-time.After(time.Hour)
		_, err := c.Absent(t.Context(), "abc")
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0, 20 * time.Second, 40 * time.Second, time.Hour + 40*time.Second}, askedAt())
	})
}

func emptyList(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"workspaces":[]}`) }

func TestAThousandDeletionsThatEndInOneMinuteCostAtMostFourLists(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]func(i int) time.Duration{
		"evenly":      func(int) time.Duration { return time.Minute / 1000 },
		"all at once": func(int) time.Duration { return 0 },
		"in two bunches": func(i int) time.Duration {
			if i == 500 {
				return 35 * time.Second
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			paced(t, emptyList, func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration) {
				start := time.Now()
				var callers errgroup.Group
				for i := range 1000 {
					if p := pause(i); p > 0 {
						<-time.After(p)
					}
					callers.Go(func() error {
						calledAt := time.Now()
						got, err := c.Absent(t.Context(), "abc")
						if err == nil && got.FetchedAt.Before(calledAt) {
							err = fmt.Errorf("a list of %s answered a call of %s", got.FetchedAt.Sub(start), calledAt.Sub(start))
						}
						return err
					})
				}
				require.NoError(t, callers.Wait())
				require.LessOrEqual(t, len(askedAt()), 4, askedAt())
				require.LessOrEqual(t, askedAt()[len(askedAt())-1]-askedAt()[0], time.Minute)
			})
		})
	}
}

func TestAnAuthWorkerThatIsDownIsAskedEverMoreSeldom(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	answer := func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
		emptyList(w, r)
	}
	paced(t, answer, func(t *testing.T, c *authclient.Client, askedAt func() []time.Duration) {
		want := []int{1, 2, 4, 8, 16, 30, 30, 30}
		for range len(want) + 1 {
			_, err := c.Absent(t.Context(), "abc")
			require.Error(t, err)
		}
		for i, seconds := range want {
			pause := askedAt()[i+1] - askedAt()[i]
			require.LessOrEqual(t, pause.Seconds(), float64(seconds))
			require.GreaterOrEqual(t, pause.Seconds(), float64(seconds)*3/4)
		}
		up.Store(true)
		for range 2 {
			_, err := c.Absent(t.Context(), "abc")
			require.NoError(t, err)
		}
		up.Store(false)
		n := len(askedAt())
		for range 2 {
			_, err := c.Absent(t.Context(), "abc")
			require.Error(t, err)
		}
		require.Equal(t, 20*time.Second, askedAt()[n-1]-askedAt()[n-2], "after a success the pace is the usual one")
		require.LessOrEqual(t, askedAt()[n+1]-askedAt()[n], time.Second, "the backoff begins anew")
	})
}

func TestARefusalForTooManyRequestsDelaysTheNextList(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, retryAfter string
		pause            time.Duration
	}{
		{"for as long as it says", "40", 40 * time.Second},
		{"for the usual interval when it does not say", "", 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refuse := func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(http.StatusTooManyRequests)
			}
			paced(t, refuse, func(t *testing.T, client *authclient.Client, askedAt func() []time.Duration) {
				for range 2 {
					_, err := client.Absent(t.Context(), "abc")
					var status *authclient.StatusError
					require.ErrorAs(t, err, &status)
				}
				require.Equal(t, []time.Duration{0, c.pause}, askedAt())
			})
		})
	}
}

// dripping is a body that never ends, a byte at a time.
type dripping struct{ ctx context.Context } //nolint:containedctx // that of its request

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(10 * time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (d dripping) Close() error { return nil }

func TestAListTooSlowToStopStoresByIsGivenUpAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "http://auth.example.com", func(o *authclient.Options) {
			o.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: dripping{r.Context()}}, nil
			})}
		})
		start := time.Now()
		_, err := c.Absent(t.Context(), "abc")
		require.ErrorIs(t, err, authclient.ErrTimeout)
		require.Equal(t, 45*time.Second, time.Since(start), "what is older than a minute stops nothing")
		require.ErrorIs(t, c.Status().Err, authclient.ErrTimeout)
		require.Equal(t, map[authclient.Outcome]int64{authclient.OutcomeTimeout: 1}, c.Status().Ended)
	})
}

func TestAnIDThatDiffersOnlyInCaseOrBySpaceIsInDoubtTheSameWorkspace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(t)
		first := ask(t.Context(), c, "xyz")
		<-g.begun
		upper, spaced, other := ask(t.Context(), c, "Abc"), ask(t.Context(), c, "abd"), ask(t.Context(), c, "abe")
		g.lists <- `{"workspaces":[]}`
		require.True(t, (<-first).Absent)
		<-g.begun
		g.lists <- `{"workspaces":[{"instanceId":"aBC"},{"instanceId":" abd\t"},{"instanceId":"ab e"}]}`
		require.False(t, (<-upper).Absent)
		require.False(t, (<-spaced).Absent)
		require.True(t, (<-other).Absent)
	})
}
