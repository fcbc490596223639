package demo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
)

type delivery struct {
	header http.Header
	body   string
	event  struct{ Event, InstanceID, UserID, Timestamp string }
}

// receiver records the deliveries that reach it.
type receiver struct {
	*httptest.Server
	t          *testing.T
	deliveries chan delivery
}

// newReceiver answers the first deliveries with the statuses and all others with 200.
func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{t: t, deliveries: make(chan delivery, 100)}
	answers := make(chan int, len(statuses))
	for _, s := range statuses {
		answers <- s
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		d := delivery{header: req.Header, body: string(body)}
		_ = json.Unmarshal(body, &d.event)
		status := 200
		select {
		case status = <-answers:
		default:
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		r.deliveries <- d
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next() delivery {
	r.t.Helper()
	select {
	case d := <-r.deliveries:
		return d
	case <-time.After(10 * time.Second):
		require.Fail(r.t, "no webhook came")
		return delivery{}
	}
}

func TestAWebhookIsExactlyThatOfTheContract(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t)
	b := setup(t, func(o *demo.AuthWorkerOptions) { o.WebhookURL = receiver.URL })

	ann := b.signup("ann@example.com")
	got := receiver.next()
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Equal(t, "lifebuild-auth-worker", got.header.Get("X-Client-Name"))
	require.Equal(t, webhookSecret, got.header.Get("X-Webhook-Secret"))
	require.Regexp(t, `^\{"event":"workspace\.created","instanceId":"`+ann.DefaultInstanceID+
		`","userId":"`+ann.User.ID+`","timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}$`, got.body)

	id := b.create(ann.AccessToken, "Garden")
	require.Equal(t, id, receiver.next().event.InstanceID)
	require.Equal(t, 200, b.do("DELETE", "/workspaces/"+id, ann.AccessToken, nil).status)
	deleted := receiver.next().event
	require.Equal(t, "workspace.deleted", deleted.Event)
	require.Equal(t, id, deleted.InstanceID)
	b.stop()
	require.Empty(t, receiver.deliveries)
}

func TestEventsAreSignedWithTheKeysAmongTheSecrets(t *testing.T) {
	t.Parallel()
	const key = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	webhook, err := standardwebhooks.NewWebhook(key)
	require.NoError(t, err)
	receiver := newReceiver(t, 500)
	b := setup(t, func(o *demo.AuthWorkerOptions) { o.WebhookURL, o.WebhookSecret = receiver.URL, webhookSecret+","+key })
	b.signup("ann@example.com")
	first, second := receiver.next(), receiver.next()
	for _, got := range []delivery{first, second} {
		require.Equal(t, webhookSecret, got.header.Get("X-Webhook-Secret"))
		require.NoError(t, webhook.Verify([]byte(got.body), got.header))
	}
	require.Equal(t, first.header.Get("Webhook-Id"), second.header.Get("Webhook-Id"))
}

func TestASecretThatIsNoneStopsTheStart(t *testing.T) {
	t.Parallel()
	_, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{BypassToken: bypassToken, WebhookSecret: "whsec_must-not-show"})
	require.EqualError(t, err, "starting the demo auth worker: notifier: secret: entry 1 is not of base64 after its prefix")
}

func TestAnEventIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		statuses []int
		attempts int
	}{
		{"until a 2xx", []int{500, 204}, 2},
		{"even when it is unauthorized", []int{401, 400, 200}, 3},
		{"a redirect is no 2xx and is not followed", []int{302, 200}, 2},
		{"and is lost after that", []int{503, 503, 503}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			receiver := newReceiver(t, c.statuses...)
			b := setup(t, func(o *demo.AuthWorkerOptions) { o.WebhookURL = receiver.URL })
			b.signup("ann@example.com")
			b.stop()

			require.Len(t, receiver.deliveries, c.attempts)
			first := receiver.next()
			for range c.attempts - 1 {
				require.Equal(t, first.body, receiver.next().body)
			}
		})
	}
}

func TestWebhooksCanBeLost(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t)
	b := setup(t, func(o *demo.AuthWorkerOptions) { o.WebhookURL = receiver.URL })
	b.SetWebhooksLost(true)
	ann := b.signup("ann@example.com")
	b.SetWebhooksLost(false)
	id := b.create(ann.AccessToken, "Garden")
	require.Equal(t, id, receiver.next().event.InstanceID)
	b.stop()
	require.Empty(t, receiver.deliveries)
}

func TestTheThirdAttemptComesAfterOneAndAHalfSeconds(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t, 500, 500)
	b := setup(t, func(o *demo.AuthWorkerOptions) { o.WebhookURL, o.RetryDelays = receiver.URL, nil })
	start := time.Now()
	b.signup("ann@example.com")
	b.stop()
	require.GreaterOrEqual(t, time.Since(start), 1500*time.Millisecond)
	require.Len(t, receiver.deliveries, 3)
}

func TestStopDropsWhatIsUnderWayWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the caller hangs up
		close(hanging)
		<-r.Context().Done()
	}))
	t.Cleanup(receiver.Close)
	worker, err := demo.StartAuthWorker(t.Context(), demo.AuthWorkerOptions{
		WebhookURL: receiver.URL, WebhookSecret: webhookSecret, BypassToken: bypassToken,
	})
	require.NoError(t, err)
	b := &bundle{AuthWorker: worker, t: t, http: &http.Client{Transport: &http.Transport{}}}
	b.signup("ann@example.com") // is answered though the webhook hangs
	<-hanging
	b.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, worker.Stop(ctx), context.DeadlineExceeded)
}
