package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"storekeeper/internal/cli/exit"
	"storekeeper/internal/storemanager/storetest"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

const (
	emitSecret = "shared-secret-of-the-sender"
	emitKey    = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
	// emitPrivateKey is a setting that the edge itself would refuse.
	emitPrivateKey = "whsk_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
)

func TestEmitSendsTheContractsWebhookAndPrintsTheAnswer(t *testing.T) {
	t.Parallel()
	webhook, err := standardwebhooks.NewWebhook(emitKey)
	require.NoError(t, err)
	var requests atomic.Int32
	var body []byte
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ = io.ReadAll(r.Body)
		if r.URL.Path != "/webhooks/workspaces" || r.Header.Get("X-Webhook-Secret") != emitSecret || webhook.Verify(body, r.Header) != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, `{"status":"deletion_scheduled","deleteAt":"2026-11-24T18:29:10Z"}`)
	})
	c := setup(t, "STOREKEEPER_URL="+url, "WEBHOOK_SECRET="+emitSecret+","+emitKey+","+emitPrivateKey)
	out := c.run(t, "emit", "deleted", "ws-1", "--user", "u1", "--at", "2026-11-23T19:29:10.028+01:00")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	require.JSONEq(t, `{"event":"workspace.deleted","instanceId":"ws-1","userId":"u1","timestamp":"2026-11-23T18:29:10.028Z"}`, string(body))
	require.Contains(t, out.stdout, "ws-1: deletion_scheduled\n")
	require.Contains(t, out.stdout, "status 200 at attempt 2, delivery evt_")

	out = c.run(t, "emit", "deleted", "ws-1", "--json")
	require.Equal(t, exit.Done, out.exit, out.stderr)
	fields := out.fields(t)
	require.InDelta(t, 200, fields["httpStatus"], 0)
	require.InDelta(t, 1, fields["attempts"], 0)
	require.Equal(t, "deletion_scheduled", fields["answer"].(map[string]any)["status"])
	require.Equal(t, false, fields["replayed"])
}

func TestEmitTellsARepeat(t *testing.T) {
	t.Parallel()
	c := setup(t, "STOREKEEPER_URL="+edgeOver(t, storetest.Open(t, storetest.Settings{})), "WEBHOOK_SECRET="+emitSecret)
	args := []string{"emit", "created", "emit-1", "--at", "2026-11-23T19:29:10Z"}
	const says = "answered before, nothing was done\n"
	require.NotContains(t, c.run(t, args...).stdout, says)
	require.Contains(t, c.run(t, args...).stdout, says)
	require.Equal(t, true, c.run(t, append(args, "--json")...).fields(t)["replayed"])
}

func TestEmitSaysWhatTheEdgeDidNotTake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		answer string
		exit   exit.Code
		code   string
		says   string
	}{
		"an unknown sender":         {401, `{"error":"Unauthorized"}`, exit.Refused, "unauthorized", "knows neither the secret nor the signature"},
		"a bad event":               {400, `{"error":"userId is over\u001b[31m 256 bytes"}`, exit.Refused, "invalid", "userId is over [31m 256 bytes"},
		"an outcome not known yet":  {202, `{"status":"accepted"}`, exit.Accepted, "accepted", "will be worked off"},
		"a fault":                   {500, `<html>`, exit.Unreachable, "unreachable", "answers 500 Internal Server Error"},
		"an overload past the time": {503, ``, exit.Unreachable, "unreachable", "answers 503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			})
			c := setup(t, "STOREKEEPER_URL="+url, "WEBHOOK_SECRET="+emitSecret)
			out := c.run(t, "emit", "created", "ws-1", "--json")
			require.Equal(t, tc.exit, out.exit, out.stderr)
			require.Equal(t, tc.code, out.errorCode(t))
			require.Contains(t, out.stderr, tc.says)
			require.InDelta(t, tc.status, out.fields(t)["httpStatus"], 0)
			if json.Valid([]byte(tc.answer)) {
				require.Contains(t, out.fields(t), "answer")
			}
			require.NotContains(t, out.stdout+out.stderr, emitSecret)
		})
	}
}

func TestEmitNeedsASenderAndAnEvent(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		secret string
		args   []string
		exit   exit.Code
		says   string
	}{
		"no secret":           {"", []string{"created", "ws-1"}, exit.Refused, "WEBHOOK_SECRET is not set"},
		"a secret of nothing": {" ", []string{"created", "ws-1"}, exit.Refused, "WEBHOOK_SECRET is not set"},
		"the edge's own keys": {emitSecret + ",whpk_must-not-show", []string{"created", "ws-1"}, exit.Usage, "entry 2 is a public key"},
		"an unknown event":    {emitSecret, []string{"renamed", "ws-1"}, exit.Usage, "created or deleted"},
		"no id":               {emitSecret, []string{"created"}, exit.Usage, "one store id"},
		"an id of no store":   {emitSecret, []string{"created", "../etc"}, exit.Usage, "can be no store id"},
		"nobody":              {emitSecret, []string{"created", "ws-1", "--user", ""}, exit.Usage, "--user"},
		"no time":             {emitSecret, []string{"created", "ws-1", "--at", "yesterday"}, exit.Usage, "--at"},
		"a time too late":     {emitSecret, []string{"created", "ws-1", "--at", "9999-12-31T23:59:59-01:00"}, exit.Usage, "years 0 to 9999"},
		"nobody who answers":  {emitSecret, []string{"created", "ws-1", "--timeout", "2s"}, exit.Unreachable, "can't be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, "STOREKEEPER_URL=http://"+closedPort(t), "WEBHOOK_SECRET="+tc.secret)
			out := c.run(t, append([]string{"emit"}, tc.args...)...)
			require.Equal(t, tc.exit, out.exit, out.stderr)
			require.Empty(t, out.stdout)
			require.Contains(t, out.stderr, tc.says)
			require.NotContains(t, out.stderr, "must-not-show")
		})
	}
}
