package notifier

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testSecret = "shared-secret-that-must-not-show,whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

var anEvent = Event{Created, "ws-1", "user-1", time.Date(2026, 11, 23, 18, 29, 10, 28e6, time.UTC)}

// request is one that reached the receiver.
type request struct {
	after  time.Duration
	header http.Header
	body   string
}

// bundle is a notifier whose requests a function answers, in the fake time of a synctest bubble.
type bundle struct {
	*Notifier
	logs  *bytes.Buffer
	began time.Time

	mu       sync.Mutex
	requests []request
	answer   func() reply
}

// RoundTrip implements http.RoundTripper.
func (b *bundle) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	b.requests = append(b.requests, request{time.Since(b.began), r.Header, string(body)})
	b.mu.Unlock()
	next := b.answer()
	switch next.status {
	case 0:
		return nil, errors.New("connection refused")
	case hanging.status:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	header := http.Header{}
	for i := 0; i+1 < len(next.headers); i += 2 {
		header.Set(next.headers[i], next.headers[i+1])
	}
	answer := strings.NewReader(cmp.Or(next.body, `{"status":"monitoring_started"}`))
	return &http.Response{StatusCode: next.status, Header: header, Body: io.NopCloser(answer)}, nil
}

// reply is an answer, or down or hanging.
type reply struct {
	status  int
	headers []string // names and values in turn
	body    string   // "" means the edge's
}

var (
	down    = reply{} // a network error
	hanging = reply{status: -1}
)

func status(code int, headers ...string) reply { return reply{status: code, headers: headers} }

// answers gives the replies one after the other, the last one for ever.
func answers(all ...reply) func() reply {
	var mu sync.Mutex
	return func() reply {
		mu.Lock()
		defer mu.Unlock()
		next := all[0]
		if len(all) > 1 {
			all = all[1:]
		}
		return next
	}
}

func setup(t *testing.T, answer func() reply, adjust ...func(*Options)) *bundle {
	t.Helper()
	b := &bundle{logs: &bytes.Buffer{}, began: time.Now(), answer: answer}
	o := Options{
		URL: "https://edge.example.com/webhooks/workspaces", Secret: testSecret,
		HTTPClient: &http.Client{Transport: b},
		Logger:     slog.New(slog.NewJSONHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range adjust {
		f(&o)
	}
	n, err := New(o)
	require.NoError(t, err)
	b.Notifier = n
	t.Cleanup(func() {
		for _, secret := range []string{"must-not-show", "AQEBAQ"} {
			require.NotContains(t, b.logs.String(), secret)
		}
	})
	return b
}

func TestADeliveryEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer   func() reply
		attempts int
		fails    string
	}{
		"with any 2xx": {answers(status(202)), 1, ""},
		"with the first 2xx after a server's fault":         {answers(status(500), status(204)), 2, ""},
		"with the first 2xx after a network error":          {answers(down, down, status(200)), 3, ""},
		"with the first 2xx after a redirect":               {answers(status(302, "Location", "/elsewhere"), status(200)), 2, ""},
		"with a 2xx that follows a key's rotation":          {answers(status(401), status(200)), 2, ""},
		"after a time-out of the receiver's and a 425":      {answers(status(408), status(425), status(200)), 3, ""},
		"after three attempts that were unauthorized":       {answers(status(401)), 3, "status 401"},
		"after three attempts that were not answered":       {answers(down), 3, "connection refused"},
		"with the last failure":                             {answers(down, down, status(503)), 3, "status 503"},
		"at once with what another attempt gets as well":    {answers(status(400)), 1, "status 400"},
		"at once with 403":                                  {answers(status(403)), 1, "status 403"},
		"at once with 404":                                  {answers(status(404)), 1, "status 404"},
		"at once with 409":                                  {answers(status(409)), 1, "status 409"},
		"at once with 413":                                  {answers(status(413)), 1, "status 413"},
		"at once with 415, and be it after a first failure": {answers(status(500), status(415)), 2, "status 415"},
		"at once with 422":                                  {answers(status(422)), 1, "status 422"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t, tc.answer)
				err := b.Notify(t.Context(), anEvent)
				require.Len(t, b.requests, tc.attempts)
				if tc.fails == "" {
					require.NoError(t, err)
					require.NotContains(t, b.logs.String(), "workspace event lost")
					return
				}
				require.ErrorContains(t, err, tc.fails)
				require.Contains(t, b.logs.String(), `"msg":"workspace event lost","event":"workspace.created","instanceId":"ws-1"`)
				require.Equal(t, tc.attempts, strings.Count(b.logs.String(), "workspace event not taken"))
			})
		})
	}
}

func TestEveryAttemptHasTheSameIDAndBodyAndASignatureOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(status(503, "Retry-After", "2")))
		require.Error(t, b.Notify(t.Context(), anEvent))
		require.Error(t, b.Notify(t.Context(), anEvent)) // as another process would
		require.Len(t, b.requests, 6)
		seen := map[string]bool{}
		for _, r := range b.requests {
			require.Equal(t, b.requests[0].body, r.body)
			require.Equal(t, deliveryID([]byte(r.body)), r.header.Get("Webhook-Id"))
			require.Equal(t, "lifebuild-auth-worker", r.header.Get("X-Client-Name"))
			require.Equal(t, "shared-secret-that-must-not-show", r.header.Get("X-Webhook-Secret"))
			seen[r.header.Get("Webhook-Timestamp")+r.header.Get("Webhook-Signature")] = true
		}
		require.GreaterOrEqual(t, len(seen), 5, "the fourth may come in the second of the third")
	})
}

func TestPausesDoubleWithJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(status(500)), func(o *Options) { o.Attempts, o.Budget = 7, time.Hour })
		require.Error(t, b.Notify(t.Context(), anEvent))
		require.Len(t, b.requests, 7)
		for i, ms := range []int64{500, 1000, 2000, 4000, 5000, 5000} {
			most := time.Duration(ms) * time.Millisecond
			require.WithinRange(t, b.began.Add(b.requests[i+1].after), b.began.Add(b.requests[i].after+most/2), b.began.Add(b.requests[i].after+most))
		}
	})
}

func TestJitterUsesAllOfItsRange(t *testing.T) {
	t.Parallel()
	least, most := maxDelay, time.Duration(0)
	for range 1000 {
		pause := backoff(1)
		least, most = min(least, pause), max(most, pause)
	}
	require.GreaterOrEqual(t, least, firstDelay/2)
	require.Less(t, least, firstDelay*6/10)
	require.LessOrEqual(t, most, firstDelay)
	require.Greater(t, most, firstDelay*9/10)
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer   reply
		attempts int
		// The second attempt comes between these.
		earliest, latest time.Duration
	}{
		"in seconds, when the receiver is overloaded": {status(503, "Retry-After", "4"), 3, 4 * time.Second, 5 * time.Second},
		"in seconds, when the sender is too fast":     {status(429, "Retry-After", "1"), 3, time.Second, 2 * time.Second},
		"as a date":                                         {status(503, "Retry-After", "Sat, 01 Jan 2000 00:00:08 GMT"), 3, 8 * time.Second, 9 * time.Second},
		"and a date that is over means nothing":             {status(503, "Retry-After", "Fri, 31 Dec 1999 23:59:00 GMT"), 3, 0, time.Second},
		"and no other status has one":                       {status(500, "Retry-After", "4"), 3, 0, time.Second},
		"and nonsense means nothing":                        {status(503, "Retry-After", "-5"), 3, 0, time.Second},
		"and a delivery ends that has no time for it":       {status(503, "Retry-After", "25"), 1, 0, 0},
		"and a delivery ends that will never have any":      {status(429, "Retry-After", "2147483647"), 1, 0, 0},
		"and what no number of seconds holds means nothing": {status(429, "Retry-After", "99999999999999999999"), 3, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t, answers(tc.answer))
				require.Error(t, b.Notify(t.Context(), anEvent))
				require.Len(t, b.requests, tc.attempts)
				if tc.attempts > 1 {
					require.GreaterOrEqual(t, b.requests[1].after, tc.earliest)
					require.LessOrEqual(t, b.requests[1].after, tc.latest)
				}
			})
		})
	}
}

func TestAReceiverThatHangsIsGivenUpWithinTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(hanging))
		require.ErrorIs(t, b.Notify(t.Context(), anEvent), context.DeadlineExceeded)
		require.Len(t, b.requests, 3)
		require.Greater(t, b.requests[1].after, 10*time.Second)
		require.Equal(t, 25*time.Second, time.Since(b.began))
	})
}

func TestTheEndOfTheCallersContextEndsADelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(status(500)))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorContains(t, b.Notify(ctx, anEvent), "status 500")
		require.Len(t, b.requests, 1)
	})
}

func TestDeliverReturnsTheLastAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(down, status(200)))
		answer, err := b.Deliver(t.Context(), anEvent)
		require.NoError(t, err)
		require.Equal(t, Answer{
			DeliveryID: deliveryID(anEvent.body()), Attempts: 2, Status: 200, Body: []byte(`{"status":"monitoring_started"}`),
		}, answer)

		b.answer = answers(status(200, "Idempotent-Replayed", "true"))
		answer, err = b.Deliver(t.Context(), anEvent)
		require.NoError(t, err)
		require.True(t, answer.Replayed)

		b.answer = answers(status(503, "Idempotent-Replayed", "true"), down)
		answer, err = b.Deliver(t.Context(), anEvent)
		require.Error(t, err)
		require.False(t, answer.Replayed, "no answer is none that was given before")

		b.answer = answers(reply{status: 400, body: strings.Repeat("x", 100<<10)})
		answer, err = b.Deliver(t.Context(), anEvent)
		require.Error(t, err)
		require.Equal(t, 400, answer.Status)
		require.Len(t, answer.Body, 64<<10)
	})
}

func TestWithoutAURLOrASecretNothingIsSent(t *testing.T) {
	t.Parallel()
	for name, adjust := range map[string]func(*Options){
		"no URL":    func(o *Options) { o.URL = "" },
		"no secret": func(o *Options) { o.Secret = " " },
		"neither":   func(o *Options) { o.URL, o.Secret = "", "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, answers(status(200)), adjust)
			require.Contains(t, b.logs.String(), `"msg":"workspace events are not sent"`)
			require.NoError(t, b.Notify(t.Context(), anEvent))
			b.Go(t.Context(), anEvent)
			require.NoError(t, b.Close(t.Context()))
			_, err := b.Deliver(t.Context(), anEvent)
			require.ErrorIs(t, err, ErrOff)
			require.Empty(t, b.requests)
			require.Contains(t, b.logs.String(), `"msg":"workspace event not sent"`)
		})
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options Options
		says    string
	}{
		"a URL that can't be parsed":   {Options{URL: "http://[secret-in-it"}, "URL: it can't be parsed"},
		"a URL of another scheme":      {Options{URL: "ftp://example.com"}, "URL: it is no http"},
		"a URL without a host":         {Options{URL: "/webhooks"}, "URL: it is no http"},
		"a URL with a password":        {Options{URL: "http://u:secret-in-it@example.com"}, "URL: it holds credentials"},
		"a name that is no header":     {Options{ClientName: "a\nb"}, "client name"},
		"less than no attempts":        {Options{Attempts: -1}, "negative"},
		"a bad secret without a URL":   {Options{Secret: "whsec_secret-in-it"}, "secret: entry 1"},
		"a bad secret in second place": {Options{Secret: "a,whsk_secret-in-it"}, "secret: entry 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tc.options)
			require.ErrorContains(t, err, tc.says)
			require.NotContains(t, err.Error(), "secret-in-it")
		})
	}
}

func TestGoOutlivesTheRequestItBelongsTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(status(500), status(200)))
		ctx, cancel := context.WithCancel(t.Context())
		b.Go(ctx, anEvent)
		require.Zero(t, time.Since(b.began), "nobody waits for it")
		cancel()
		require.NoError(t, b.Close(t.Context()))
		require.Len(t, b.requests, 2)
		require.NotContains(t, b.logs.String(), "workspace event lost")

		b.Go(t.Context(), anEvent)
		require.Contains(t, b.logs.String(), "the notifier is closed")
		require.NoError(t, b.Close(t.Context()))
		require.Len(t, b.requests, 2)
	})
}

func TestGoLosesWhatIsBeyondItsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(hanging), func(o *Options) { o.MaxInFlight = 2 })
		for range 3 {
			b.Go(t.Context(), anEvent)
		}
		require.NoError(t, b.Close(t.Context()))
		require.Len(t, b.requests, 2*3)
		require.Equal(t, 1, strings.Count(b.logs.String(), "too many events are under way"))
	})
}

func TestCloseDropsWhatItsTimeDoesNotAllowFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, answers(hanging))
		b.Go(t.Context(), anEvent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Close(ctx), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(b.began))
		require.Contains(t, b.logs.String(), "workspace event lost")
		require.NoError(t, b.Close(ctx))
	})
}

func TestARealServerGetsTheContractsRequest(t *testing.T) {
	t.Parallel()
	got := make(chan *http.Request, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		got <- r
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	}))
	defer server.Close()
	var logs bytes.Buffer
	n, err := New(Options{
		URL: server.URL + "/webhooks/workspaces?key=must-not-show", Secret: testSecret, ClientName: "billing", Attempts: 1,
		Logger: slog.New(slog.NewTextHandler(&logs, nil)),
	})
	require.NoError(t, err)
	answer, err := n.Deliver(t.Context(), anEvent)
	require.ErrorContains(t, err, "status 302")
	require.Equal(t, http.StatusFound, answer.Status)
	r := <-got
	require.Empty(t, got, "a redirect is not followed")
	require.Equal(t, http.MethodPost, r.Method)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	require.Equal(t, "billing", r.Header.Get("X-Client-Name"))
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, string(anEvent.body()), string(body))

	server.Close()
	require.Error(t, n.Notify(t.Context(), anEvent))
	require.NotContains(t, logs.String(), "must-not-show", "nor in a network error")
	require.NoError(t, n.Close(t.Context()))
}
