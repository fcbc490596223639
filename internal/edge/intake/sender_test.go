package intake

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
	"storekeeper/internal/edge/edgetest"
)

const hmacKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// signed are the headers of a body that the reference library has signed now.
func signed(t *testing.T, id, body string) []string {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(hmacKey)
	require.NoError(t, err)
	now := time.Now()
	signature, err := wh.Sign(id, now, []byte(body))
	require.NoError(t, err)
	return []string{
		"webhook-id", id, "webhook-timestamp", strconv.FormatInt(now.Unix(), 10), "webhook-signature", signature, "Content-Type", "application/json",
	}
}

func withAuth(mode string, secrets ...config.Secret) func(*fixture) {
	return func(f *fixture) { f.Config.WebhookAuth, f.Config.WebhookSecrets = mode, secrets }
}

func TestTheModeSaysWhatASenderMustBring(t *testing.T) {
	t.Parallel()
	body := event("workspace.created")
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	asymmetric := []string{
		"webhook-id", "evt_1", "webhook-timestamp", now, "Content-Type", "application/json",
		"webhook-signature", "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte("evt_1."+now+"."+body))),
	}
	for _, test := range []struct {
		mode                            string
		bySecret, byHMAC, byKey, byBoth int
	}{
		{"any", 200, 200, 200, 200},
		{"secret", 200, 401, 401, 200},
		{"signature", 401, 200, 200, 200},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			f := setup(t, withAuth(test.mode, secret, hmacKey, config.Secret("whpk_"+base64.StdEncoding.EncodeToString(public))))
			bySecret := []string{"X-Webhook-Secret", secret, "Content-Type", "application/json"}
			require.Equal(t, test.bySecret, f.Do(t, http.MethodPost, webhooks, body, bySecret...).Status)
			require.Equal(t, test.byHMAC, f.Do(t, http.MethodPost, webhooks, body, signed(t, "evt_2", body)...).Status)
			require.Equal(t, test.byKey, f.Do(t, http.MethodPost, webhooks, body, asymmetric...).Status)
			require.Equal(t, test.byBoth, f.Do(t, http.MethodPost, webhooks, body, append(signed(t, "evt_3", body), "X-Webhook-Secret", secret)...).Status)
		})
	}
}

func TestARefusedSenderIsToldNothingAndTheOperatorWhy(t *testing.T) {
	t.Parallel()
	body := event("workspace.created")
	change := func(headers []string, name, value string) []string {
		for i := 0; i < len(headers); i += 2 {
			if headers[i] == name {
				headers[i+1] = value
			}
		}
		return headers
	}
	old := strconv.FormatInt(time.Now().Add(-6*time.Minute).Unix(), 10)
	for name, test := range map[string]struct {
		body    string
		headers []string
		reason  string
	}{
		"another body":          {body + " ", signed(t, "evt_1", body), "signature_wrong"},
		"another id":            {body, change(signed(t, "evt_1", body), "webhook-id", "evt_2"), "signature_wrong"},
		"an old time stamp":     {body, change(signed(t, "evt_1", body), "webhook-timestamp", old), "timestamp_too_old"},
		"a time stamp in words": {body, change(signed(t, "evt_1", body), "webhook-timestamp", "now"), "timestamp_malformed"},
		"an unknown version":    {body, change(signed(t, "evt_1", body), "webhook-signature", "v2,AAAA"), "signature_malformed"},
		"two ids":               {body, append(signed(t, "evt_1", body), "webhook-id", "evt_1"), "header_repeated"},
		"nothing":               {body, nil, "credentials_missing"},
		"a wrong secret":        {body, []string{"X-Webhook-Secret", "wrong"}, "secret_wrong"},
		"two secrets":           {body, []string{"X-Webhook-Secret", secret, "X-Webhook-Secret", "wrong"}, "header_repeated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, withAuth("", secret, hmacKey))
			resp := f.Do(t, http.MethodPost, webhooks, test.body, test.headers...)
			edgetest.RequireProblem(t, resp, 401, "unauthorized", "Unauthorized")
			require.Contains(t, f.Logs.String(), fmt.Sprintf(`"reason":%q`, test.reason))
			require.Contains(t, f.Logs.String(), resp.Header.Get("X-Request-Id"))
			require.Contains(t, f.Do(t, http.MethodGet, "/metrics", "").Body,
				fmt.Sprintf(`storekeeper_webhook_auth_total{method="none",outcome=%q} 1`, test.reason))
			require.Empty(t, f.Temporal.Applied())
		})
	}
}

func TestAWrongSignatureBesideARightSecretIsSeen(t *testing.T) {
	t.Parallel()
	f := setup(t, withAuth("any", secret, hmacKey))
	body := event("workspace.created")
	resp := f.Do(t, http.MethodPost, webhooks, body, append(signed(t, "evt_1", "another body"), "X-Webhook-Secret", secret)...)
	require.Equal(t, 200, resp.Status)
	metrics := f.Do(t, http.MethodGet, "/metrics", "").Body
	require.Contains(t, metrics, `storekeeper_webhook_auth_total{method="secret",outcome="succeeded"} 1`)
	require.Contains(t, metrics, `storekeeper_webhook_auth_total{method="signature",outcome="signature_wrong"} 1`)
	require.Contains(t, f.Logs.String(), "webhook signature wrong beside a right secret")
}

func TestStrangersCanNotFillTheLog(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range 100 {
		require.Equal(t, 401, f.Do(t, http.MethodPost, webhooks, "", "X-Webhook-Secret", "wrong").Status)
	}
	require.Less(t, strings.Count(f.Logs.String(), "sender refused"), 100)
	require.Contains(t, f.Do(t, http.MethodGet, "/metrics", "").Body, `outcome="secret_wrong"} 100`)
}

func TestASenderThatSendsTooMuchIsToldWhenToSendAgain(t *testing.T) {
	t.Parallel()
	f := setup(t, withAuth("", secret, edgetest.OtherSecret), func(f *fixture) { f.Config.WebhookRateLimit = 2 })
	post := func(secret string) edgetest.Response {
		return f.Do(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
	}
	first := post(secret)
	require.Equal(t, 200, first.Status)
	require.Equal(t, `"sender";q=2;w=1`, first.Header.Get("RateLimit-Policy"))
	require.Equal(t, `"sender";r=1;t=1`, first.Header.Get("RateLimit"))
	refused := edgetest.Response{}
	require.Eventually(t, func() bool { refused = post(secret); return refused.Status == 429 }, 30*time.Second, time.Nanosecond)
	edgetest.RequireProblem(t, refused, 429, "rate_limited", "Too many webhooks from this sender")
	require.Equal(t, "1", refused.Header.Get("Retry-After"))
	require.Equal(t, `"sender";r=0;t=1`, refused.Header.Get("RateLimit"))
	require.Equal(t, 200, post(edgetest.OtherSecret).Status, "another sender has a limit of its own")
	require.Equal(t, 401, post("wrong").Status)
	require.Eventually(t, func() bool { return post(secret).Status == 200 }, 30*time.Second, 100*time.Millisecond)
}

// slowBody comes whole, but late.
type slowBody struct {
	late time.Duration
	io.Reader
}

func (b *slowBody) Read(p []byte) (int, error) {
	<-time.After(b.late)
	b.late = 0
	return b.Reader.Read(p)
}

func TestASlowBodyDoesNotFillUpTheLimitOfItsSender(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.WebhookRateLimit = 5 })
	synctest.Test(t, func(t *testing.T) {
		post := func(late time.Duration) int {
			body := strings.Replace(event("workspace.created"), "2025-", "1999-", 1) // refused, which counts as well
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, webhooks, &slowBody{late, strings.NewReader(body)})
			r.Header.Set("X-Webhook-Secret", secret)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			f.handler.ServeHTTP(w, r)
			return w.Code
		}
		go post(9 * time.Second)
		<-time.After(9*time.Second - time.Nanosecond)
		for range 4 {
			require.Equal(t, 400, post(0))
		}
		<-time.After(time.Nanosecond)
		synctest.Wait() // the slow one is the fifth
		require.Equal(t, 429, post(0))
	})
}

func TestARepeatedRequestThatSomebodyHasCaughtDoesNotUseUpTheLimitOfItsSender(t *testing.T) {
	t.Parallel()
	f := setup(t, withAuth("signature", hmacKey), func(f *fixture) { f.Config.WebhookRateLimit = 2 })
	body := event("workspace.created")
	caught := signed(t, "evt_1", body)
	for range 20 {
		require.Equal(t, 200, f.Do(t, http.MethodPost, webhooks, body, caught...).Status)
	}
	require.Equal(t, 200, f.Do(t, http.MethodPost, webhooks, body, signed(t, "evt_2", body)...).Status)
	require.Len(t, f.Temporal.Applied(), 2)
}

func TestOnlyJSONIsTaken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for contentType, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "Application/JSON;charset=\"UTF-8\"": 200,
		// No parameter has a meaning (RFC 8259, section 11): what counts is that the text is UTF-8.
		"application/json; charset=UTF8": 200, "application/json; charset=latin1": 200, "application/json; charset=utf-16": 200,
		"application/json;": 200, "application/json ; a=1; a=2": 200, "application/json; charset": 200, "\tapplication/json": 200,
		"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "application/jsonx": 415, "application/cloudevents+json": 415,
		"text/plain; application/json": 415, "application/json, text/plain": 415, "application/json/json": 415, "application": 415, "*/*": 415,
	} {
		resp := f.Do(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", contentType)
		require.Equal(t, status, resp.Status, contentType)
	}
	resp := f.Send(t, event("workspace.created"), "Content-Encoding", "gzip")
	edgetest.RequireProblem(t, resp, 415, "unsupported_media_type", "Content-Type must be application/json, and the body not encoded")
	require.Equal(t, 415, f.Send(t, event("workspace.created"), "Content-Type", "text/plain").Status, "two types")
	require.Equal(t, 415, f.Send(t, event("workspace.created"), "Content-Encoding", "identity", "Content-Encoding", "gzip").Status)
	require.Equal(t, 200, f.Send(t, event("workspace.created"), "Content-Encoding", "identity").Status)
	utf16 := "\xfe\xff\x00{\x00}"
	resp = f.Do(t, http.MethodPost, webhooks, utf16, "X-Webhook-Secret", secret, "Content-Type", "application/json; charset=utf-16")
	edgetest.RequireProblem(t, resp, 400, "invalid", "Invalid JSON payload")
}
