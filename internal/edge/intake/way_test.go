package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/edgetest"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/orchestrator"
)

func TestWebhookAnswersWithTheOutcome(t *testing.T) {
	t.Parallel()
	deleteAt := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		eventType string
		result    contract.Result
		status    int
		more      map[string]any
	}{
		"a creation starts the monitoring":   {"workspace.created", contract.Result{Status: contract.StatusMonitoringStarted}, 200, nil},
		"a creation finds it monitored":      {"workspace.created", contract.Result{Status: contract.StatusAlreadyMonitored}, 200, nil},
		"a deletion stops at once":           {"workspace.deleted", contract.Result{Status: contract.StatusMonitoringStopped}, 200, nil},
		"a deletion finds nothing monitored": {"workspace.deleted", contract.Result{Status: contract.StatusAlreadyStopped}, 200, nil},
		"a deletion is scheduled": {
			"workspace.deleted",
			contract.Result{Status: contract.StatusDeletionScheduled, DeleteAt: &deleteAt},
			200,
			map[string]any{"deleteAt": "2026-01-02T03:04:05Z"},
		},
		"a stale event changes nothing": {
			"workspace.created",
			contract.Result{Status: contract.StatusStaleIgnored, Detail: "a newer event is known"},
			200,
			map[string]any{"detail": "a newer event is known"},
		},
		"an outcome that is not known in time is 202": {"workspace.created", contract.Result{Status: contract.StatusAccepted}, 202, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, func(f *fixture) {
				f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) { return test.result, nil }
			})
			resp := f.Send(t, event(test.eventType))
			require.Equal(t, test.status, resp.Status, resp.Body)
			got := resp.JSON(t)
			receivedAt, err := time.Parse(time.RFC3339, got["receivedAt"].(string))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), receivedAt, time.Minute)
			delete(got, "receivedAt")
			want := map[string]any{"status": string(test.result.Status)}
			maps.Copy(want, test.more)
			require.Equal(t, want, got)

			events := f.Temporal.Applied()
			require.Len(t, events, 1)
			require.NotEmpty(t, events[0].DeliveryID)
			require.WithinDuration(t, receivedAt, events[0].ReceivedAt, time.Millisecond)
			events[0].DeliveryID, events[0].ReceivedAt = "", time.Time{}
			require.Equal(t, contract.Event{
				Type: contract.EventType(test.eventType), InstanceID: storeA, UserID: edgetest.UserID, Source: contract.SourceWebhook,
				Timestamp: time.Date(2025, 11, 23, 18, 29, 10, 28e6, time.UTC),
				Origin:    contract.Origin{Actor: "secret#1", RequestID: resp.Header.Get("X-Request-Id")},
			}, events[0])
			require.Contains(t, f.Logs.String(), fmt.Sprintf(`"outcome":%q`, test.result.Status))

			kept, err := f.Registry.Unheard(t.Context(), deliveries.UnheardRequest{Engine: "a new one"})
			require.NoError(t, err)
			if test.status != 202 {
				require.Empty(t, kept)
				return
			}
			require.Len(t, kept, 1)
			var again contract.Event
			require.NoError(t, json.Unmarshal(kept[0].Event, &again))
			again.DeliveryID, again.ReceivedAt = "", time.Time{}
			require.Equal(t, events[0], again)
			require.Equal(t, storeA, kept[0].StoreID)
		})
	}
}

func TestWebhookRefusesBadInputAndStartsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := event("workspace.created")
	with := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	at := func(ts string) string { return with("2025-11-23T18:29:10.028Z", ts) }
	idRule := "instanceId is not a valid store id: 3 to 64 letters, digits, _ and -, the first a letter or digit"
	tests := map[string]struct {
		body  string
		error string
	}{
		"no JSON":                       {"created", "Invalid JSON payload"},
		"nothing":                       {"", "Invalid JSON payload"},
		"half of an object":             {good[:30], "Invalid JSON payload"},
		"garbage behind the object":     {good + "x", "Invalid JSON payload"},
		"two objects":                   {good + good, "Invalid JSON payload"},
		"a key that comes twice":        {with("{", `{"event":"workspace.deleted",`), "Payload has the same key twice"},
		"a key that comes twice within": {with("{", `{"more":[{"a":1,"a":2}],`), "Payload has the same key twice"},
		"no UTF-8":                      {with("{", `{"more":"`+"\xff"+`",`), "Invalid JSON payload"},
		"deep nesting":                  {with("{", `{"more":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,`), "Payload is nested more than 16 deep"},
		"an array":                      {"[" + good + "]", "Payload must be an object"},
		"a string":                      {`"created"`, "Payload must be an object"},
		"null":                          {"null", "Payload must be an object"},
		"an empty object":               {"{}", "Unsupported event type"},
		"an unknown event":              {with("workspace.created", "workspace.renamed"), "Unsupported event type"},
		"an operator's event":           {with("workspace.created", "store.release"), "Unsupported event type"},
		"an event that is a number":     {with(`"workspace.created"`, "1"), "Unsupported event type"},
		"names in another case":         {with(`"event"`, `"Event"`), "Unsupported event type"},
		"no instance id":                {with(`"instanceId"`, `"id"`), "instanceId is required"},
		"an instance id that is null":   {with(`"`+storeA+`"`, "null"), "instanceId is required"},
		"an instance id that is object": {with(`"`+storeA+`"`, "{}"), "instanceId is required"},
		"an empty instance id":          {with(storeA, ""), "instanceId is required"},
		"no user id":                    {with(`"userId"`, `"user"`), "userId is required"},
		"a user id that is a number":    {with(`"`+edgetest.UserID+`"`, "7"), "userId is required"},
		"no time stamp":                 {with(`"timestamp"`, `"time"`), "timestamp is required"},
		"neither user nor time stamp":   {`{"event":"workspace.created","instanceId":"../.."}`, "userId is required"},
		"a path as instance id":         {with(storeA, "../../etc x"), idRule},
		"an instance id too short":      {with(storeA, "ab"), idRule},
		"an instance id too long":       {with(storeA, strings.Repeat("a", 65)), idRule},
		"an instance id with a newline": {with(storeA, `abc\n`), idRule},
		"a user id too long":            {with(edgetest.UserID, strings.Repeat("u", 257)), "userId is over 256 bytes"},
		"a time stamp in words":         {at("yesterday"), "timestamp must be an RFC 3339 date-time"},
		"a time stamp without a zone":   {at("2025-11-23T18:29:10"), "timestamp must be an RFC 3339 date-time"},
		"a date":                        {at("2025-11-23"), "timestamp must be an RFC 3339 date-time"},
		"a day that is none":            {at("2025-02-30T00:00:00Z"), "timestamp must be an RFC 3339 date-time"},
		"a comma in the time stamp":     {at("2025-11-23T18:29:10,028Z"), "timestamp must be an RFC 3339 date-time"},
		"an hour of one digit":          {at("2025-11-23T8:29:10Z"), "timestamp must be an RFC 3339 date-time"},
		"a zone that is none":           {at("2025-11-23T18:29:10+99:00"), "timestamp must be an RFC 3339 date-time"},
		"the year 0":                    {at("0000-01-01T00:00:00Z"), "timestamp is before the year 2000"},
		"the year 9999":                 {at("9999-12-31T23:59:59Z"), "timestamp is more than 24 hours in the future"},
		"a second 60 in the day":        {at("2016-12-31T12:30:60Z"), "timestamp must be an RFC 3339 date-time"},
		"a second 60 of another zone":   {at("2016-12-31T23:59:60+01:00"), "timestamp must be an RFC 3339 date-time"},
		"a second 61":                   {at("2016-12-31T23:59:61Z"), "timestamp must be an RFC 3339 date-time"},
		"the hour 24":                   {at("2025-11-23T24:00:00Z"), "timestamp must be an RFC 3339 date-time"},
		"a zone of 24 hours":            {at("2025-11-23T18:29:10+24:00"), "timestamp must be an RFC 3339 date-time"},
		"a point and no fraction":       {at("2025-11-23T18:29:10.Z"), "timestamp must be an RFC 3339 date-time"},
		"a space for the T":             {at("2025-11-23 18:29:10Z"), "timestamp must be an RFC 3339 date-time"},
		"a year of five digits":         {at("12025-11-23T18:29:10Z"), "timestamp must be an RFC 3339 date-time"},
		"the year 1":                    {at("0001-01-01T00:00:00Z"), "timestamp is before the year 2000"},
		"the far future":                {at(time.Now().Add(25 * time.Hour).Format(time.RFC3339)), "timestamp is more than 24 hours in the future"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			edgetest.RequireProblem(t, f.Send(t, test.body), 400, "invalid", test.error)
		})
	}
	t.Cleanup(func() { require.Empty(t, f.Temporal.Applied()) }) // after the last of them
}

func TestWebhookTakesWhatIsUnusualButRight(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := event("workspace.created")
	for name, body := range map[string]string{
		"white space around":       " \r\n\t" + good + "\n",
		"fields it does not know":  strings.Replace(good, "{", `{"version":2,"more":{"a":[1]},`, 1),
		"lower case":               strings.Replace(good, "T18:29:10.028Z", "t18:29:10z", 1),
		"another zone":             strings.Replace(good, "10.028Z", "10+05:30", 1),
		"a clock some hours ahead": strings.Replace(good, "2025-11-23T18:29:10.028Z", time.Now().Add(23*time.Hour).Format(time.RFC3339), 1),
		"an id that is no UUID":    strings.Replace(good, storeA, "My_store-1", 1),
		"64 KiB exactly":           good + strings.Repeat(" ", problem.MaxBody-len(good)),
	} {
		require.Equal(t, 200, f.Send(t, body).Status, name)
	}
}

func TestAByteOrderMarkIsIgnored(t *testing.T) {
	t.Parallel()
	good := event("workspace.created")
	with, refused := parseEvent([]byte("\ufeff"+good), time.Now())
	require.Nil(t, refused)
	without, refused := parseEvent([]byte(good), time.Now())
	require.Nil(t, refused)
	require.Equal(t, without, with)
	_, refused = parseEvent([]byte("\ufeff\ufeff"+good), time.Now())
	require.Equal(t, "Invalid JSON payload", refused.Message)
}

func TestALeapSecondIsTheSecondAfterIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2016-12-31T23:59:60Z":             time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2016-12-31t23:59:60z":             time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2016-12-31T23:59:60+00:00":        time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2016-12-31T23:59:60-00:00":        time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2017-01-01T05:29:60+05:30":        time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2016-12-31T15:59:60-08:00":        time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC),
		"2016-12-31T23:59:60.5Z":           time.Date(2017, 1, 1, 0, 0, 0, 5e8, time.UTC),
		"2016-12-31T23:59:60.123456789Z":   time.Date(2017, 1, 1, 0, 0, 0, 123456789, time.UTC),
		"2016-12-31T23:59:59.1234567890Z":  time.Date(2016, 12, 31, 23, 59, 59, 123456789, time.UTC),
		"2016-12-31T23:59:59.99999999999Z": time.Date(2016, 12, 31, 23, 59, 59, 999999999, time.UTC),
		// No second was ever added on such a day, but a clock that is wrong about that is right about the moment.
		"2025-11-23T23:59:60Z": time.Date(2025, 11, 24, 0, 0, 0, 0, time.UTC),
	} {
		got, err := parseDateTime(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got.UTC(), text)
	}
	f := setup(t)
	body := strings.Replace(event("workspace.created"), "2025-11-23T18:29:10.028Z", "2025-11-23T23:59:60Z", 1)
	require.Equal(t, 200, f.Send(t, body).Status)
	require.Equal(t, time.Date(2025, 11, 24, 0, 0, 0, 0, time.UTC), f.Temporal.Applied()[0].Timestamp)
}

func TestWebhookChecksTheSecretBeforeTheBody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := event("workspace.created")
	for name, headers := range map[string][]string{
		"none":           {},
		"an empty one":   {"X-Webhook-Secret", ""},
		"a wrong one":    {"X-Webhook-Secret", "wrong"},
		"both in one":    {"X-Webhook-Secret", "a,b"},
		"as a bearer":    {"Authorization", "Bearer wrong"},
		"only its start": {"X-Webhook-Secret", secret[:5]},
	} {
		for _, body := range []string{good, "no JSON", strings.Repeat("x", problem.MaxBody+1)} {
			resp := f.Do(t, http.MethodPost, webhooks, body, headers...)
			require.Equal(t, 401, resp.Status, name)
			edgetest.RequireError(t, resp, "Unauthorized")
		}
	}
	require.Empty(t, f.Temporal.Applied())
	for _, s := range []string{secret, edgetest.OtherSecret} {
		require.Equal(t, 200, f.Do(t, http.MethodPost, webhooks, good, "X-Webhook-Secret", s, "Content-Type", "application/json").Status, "each of several secrets is taken")
	}
}

func TestWebhookRefusesABodyOver64KiB(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := event("workspace.created")
	resp := f.Send(t, good+strings.Repeat(" ", problem.MaxBody+1-len(good)))
	require.Equal(t, 413, resp.Status)
	edgetest.RequireError(t, resp, "The body is over 64 KiB")
	require.Empty(t, f.Temporal.Applied())
}

func TestWebhookAnswersALargeBodyWithoutReadingIt(t *testing.T) {
	t.Parallel()
	f := setup(t)
	address, _ := f.run(t)
	conn := edgetest.Dial(t, address)
	// Nothing of the 20 MB is ever sent: the answer comes because nobody waits for it.
	edgetest.Head(t, conn, "Content-Length: 20000000")
	require.Equal(t, 413, edgetest.ReadStatus(t, conn))
	edgetest.RequireClosed(t, conn)
}

func TestWebhookTakesTheDeliveryIDOfTheSender(t *testing.T) {
	t.Parallel()
	f := setup(t)
	good := event("workspace.created")
	require.Equal(t, 200, f.Send(t, good, "webhook-id", "msg_2Kq~!").Status)
	require.Equal(t, "msg_2Kq~!", f.Temporal.Applied()[0].DeliveryID)
	for name, id := range map[string]string{"empty": "", "with a space": "a b", "not ASCII": "é", "too long": strings.Repeat("a", 129)} {
		resp := f.Send(t, good, "webhook-id", id)
		require.Equal(t, 400, resp.Status, name)
		edgetest.RequireError(t, resp, "webhook-id must be 1 to 128 printable ASCII characters without spaces")
	}
	require.Equal(t, 400, f.Send(t, good, "webhook-id", "evt_1", "webhook-id", "evt_1").Status, "twice")
	require.Len(t, f.Temporal.Applied(), 1)
}

func TestEachRequestIsADeliveryOfItsOwn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, _ = f.Exchange(t, http.MethodPost, webhooks, event("workspace.created"), "X-Webhook-Secret", secret, "Content-Type", "application/json")
		})
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, ev := range f.Temporal.Applied() {
		ids[ev.DeliveryID] = true
	}
	require.Len(t, ids, 10)
}

func TestAnEventThatTheWorkflowRefusesIs400(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(context.Context, contract.Event) (contract.Result, error) {
			return contract.Result{}, fmt.Errorf("%w: inner text", orchestrator.ErrInvalid)
		}
	})
	resp := f.Send(t, event("workspace.created"))
	require.Equal(t, 400, resp.Status)
	edgetest.RequireError(t, resp, "The event was refused")
}

func TestAnEventThatIsNotDurableIs503(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Temporal.Down = true })
	for range 3 {
		resp := f.Send(t, event("workspace.deleted"))
		require.Equal(t, 503, resp.Status)
		require.Equal(t, "5", resp.Header.Get("Retry-After"))
		edgetest.RequireError(t, resp, "The event could not be stored; send it again")
	}
	require.Equal(t, 1, strings.Count(f.Logs.String(), "webhooks are refused"), "an outage is reported once")
	metrics := f.Do(t, http.MethodGet, "/metrics", "").Body
	require.Contains(t, metrics, `storekeeper_webhook_events_total{event="workspace.deleted",outcome="unavailable"} 3`)
}

func TestAnEventOutlivesASenderThatHangsUp(t *testing.T) {
	t.Parallel()
	entered, hungUp, taken := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f := setup(t, func(f *fixture) {
		f.Temporal.OnApply = func(ctx context.Context, _ contract.Event) (contract.Result, error) {
			close(entered)
			<-hungUp
			taken <- ctx.Err()
			return contract.Result{Status: contract.StatusAccepted}, nil
		}
	})
	_, stop := f.run(t)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.URL+webhooks, strings.NewReader(event("workspace.created")))
	require.NoError(t, err)
	req.Header.Set("X-Webhook-Secret", secret)
	req.Header.Set("Content-Type", "application/json")
	go func() {
		<-entered
		cancel()
	}()
	resp, err := edgetest.HTTPClient(t).Do(req)
	if err == nil {
		resp.Body.Close()
	}
	require.ErrorIs(t, err, context.Canceled)
	close(hungUp)
	require.NoError(t, <-taken)
	stop()
}

func TestTheTraceThatASenderBringsGoesAlongWithTheEvent(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	f := setup(t)
	resp := f.Send(t, edgetest.Event("workspace.created"), "traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	require.Equal(t, 200, resp.Status, resp.Body)
	require.Equal(t, trace, f.Temporal.Applied()[0].Origin.TraceID, "the audit trail is to have it")
}
