package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"storekeeper/internal/telemetry"
	"storekeeper/tests/sentrytest"
)

func TestSentryIsOptional(t *testing.T) {
	t.Parallel()
	s, err := telemetry.NewSentry(telemetry.SentryOptions{})
	require.NoError(t, err)
	require.Nil(t, s)

	s.Breadcrumb(telemetry.Operation{Name: "EnsureStore"})
	s.Capture(t.Context(), errors.New("boom"), telemetry.Operation{})
	require.True(t, s.Flush(time.Second))
	s.Close()
}

func TestSentryRefusesABadDSNWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"hunter2", "https://hunter2@", "https://k:hunter2@host\x7f/1"} {
		_, err := telemetry.NewSentry(telemetry.SentryOptions{DSN: dsn})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestACapturedErrorHasItsOwnTagsAndTheTrailBeforeIt(t *testing.T) {
	t.Parallel()

	t.Run("sends the error with its tags and the trail before it", func(t *testing.T) {
		t.Parallel()
		s, fake := newSentry(t)
		s.Breadcrumb(telemetry.Operation{
			StoreID: "abc", Name: "GetWorkspace", Phase: "deletion", Outcome: telemetry.OutcomeSucceeded, Duration: 20 * time.Millisecond,
		})
		failed := telemetry.Operation{StoreID: "abc", Name: "StopStore", Phase: "deletion", Outcome: telemetry.OutcomeFailed}
		s.Breadcrumb(failed)
		s.Capture(t.Context(), errors.New("boom"), failed)

		events := sent(t, s, fake)
		require.Len(t, events, 1)
		event := events[0]
		require.Equal(t, map[string]string{"storeId": "abc", "operation": "StopStore", "phase": "deletion"}, event.Tags)
		require.Equal(t, "boom", event.Exception[0].Value)
		require.Equal(t, "storekeeper@dev", event.Release)
		require.Equal(t, "test", event.Environment)
		require.Empty(t, event.Request)
		require.Empty(t, event.User)
		require.Len(t, event.Breadcrumbs, 2)
		require.Equal(t, "workspace_orchestration", event.Breadcrumbs[0].Category)
		require.Equal(t, "GetWorkspace", event.Breadcrumbs[0].Message)
		require.Equal(t, "info", event.Breadcrumbs[0].Level)
		require.Equal(t, map[string]any{
			"storeId": "abc", "phase": "deletion", "outcome": "succeeded", "durationMs": 20.0,
		}, event.Breadcrumbs[0].Data)
		require.Equal(t, "error", event.Breadcrumbs[1].Level)
	})

	t.Run("one capture's tags are not on the next", func(t *testing.T) {
		t.Parallel()
		s, fake := newSentry(t)
		s.Capture(t.Context(), errors.New("first"), telemetry.Operation{StoreID: "abc", Name: "StopStore", Phase: "deletion"})
		s.Capture(t.Context(), errors.New("second"), telemetry.Operation{Name: "PlanRepair"})
		events := sent(t, s, fake)
		require.Len(t, events, 2)
		require.Equal(t, map[string]string{"operation": "PlanRepair"}, events[1].Tags)
	})

	t.Run("ignores cancellations and no error", func(t *testing.T) {
		t.Parallel()
		s, fake := newSentry(t)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		s.Capture(t.Context(), nil, telemetry.Operation{})
		s.Capture(t.Context(), fmt.Errorf("stop store: %w", context.Canceled), telemetry.Operation{})
		s.Capture(gone, errors.New("interrupted"), telemetry.Operation{})
		s.Capture(t.Context(), errors.New("the sign that all was sent"), telemetry.Operation{})
		require.Len(t, sent(t, s, fake), 1)
	})

	t.Run("may run in parallel", func(t *testing.T) {
		t.Parallel()
		s, fake := newSentry(t, "hunter2")
		done := make(chan struct{})
		for range 10 {
			go func() {
				s.Breadcrumb(telemetry.Operation{Name: "EnsureStore"})
				s.Capture(t.Context(), errors.New("boom hunter2"), telemetry.Operation{Name: "EnsureStore"})
				done <- struct{}{}
			}()
		}
		for range 10 {
			<-done
		}
		events := sent(t, s, fake)
		require.Len(t, events, 2)
		require.Equal(t, 9, events[1].Count())
	})
}

// TestNoSecretLeaves puts secrets wherever something can be put and greps all that comes out.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	secrets := []string{"", "s3cr3t", "s3cr3t-and-longer", `quo"ted\and spaced/&+%`}
	log, out := newLogger(t, secrets...)
	sentry, fake := newSentry(t, secrets...)
	metrics, err := telemetry.NewMetrics(log)
	require.NoError(t, err)
	metrics.RegisterShared(func(context.Context) telemetry.Shared { return telemetry.Shared{StoresErr: errors.New("s3cr3t")} })

	body := ""
	for _, secret := range secrets[1:] {
		escaped := "ws://host?payload=" + url.QueryEscape(url.QueryEscape(`{"serverBypass":"`+secret+`"}`))
		nested := &url.Error{Op: "Get", URL: escaped, Err: errors.New("Authorization: Bearer " + secret)}
		err := errors.Join(errors.New(secret), fmt.Errorf("dial: %w", nested))

		log.Error("leaked "+secret, zap.String(telemetry.KeyReason, "x"+secret+"y"), zap.Error(err), zap.Any("any", map[string]any{
			"nested": []string{secret}, secret: true,
		}), zap.ByteString("bytes", []byte(secret)), zap.Stringer("url", &url.URL{RawQuery: url.Values{"token": {secret}}.Encode()}), zap.Errors("errors", []error{err}))
		log.With(zap.String("with", secret)).Named(secret).Info("enriched")
		telemetry.SDKLogger(log).Warn("sdk", "Error", err, secret, secret)

		op := telemetry.Operation{StoreID: secret, Name: secret, Phase: secret, Outcome: secret}
		sentry.Breadcrumb(op)
		sentry.Capture(t.Context(), err, op)

		metrics.Webhook(secret, "unauthorized", time.Second)
		body += scrape(t, metrics)
	}
	require.Len(t, sent(t, sentry, fake), 3)

	outputs := append(fake.Envelopes(), out.String(), body)
	for _, output := range outputs {
		require.NotEmpty(t, output)
		for _, part := range []string{"s3cr3t", "and-longer", "quo", "spaced"} {
			require.NotContains(t, output, part)
		}
	}
	require.Contains(t, out.String(), "leaked [redacted]")
	logged(t, out) // still JSON, each line
}

func TestAnotherDSNTakesWhatIsCapturedFromThenOn(t *testing.T) {
	t.Parallel()
	s, first := newSentry(t)
	second := sentrytest.Start(t)
	s.Capture(t.Context(), errors.New("before"), telemetry.Operation{Name: "first"})
	require.ErrorContains(t, s.SetDSN("hunter2"), "malformed")
	require.NotContains(t, s.SetDSN("hunter2").Error(), "hunter2")
	require.NoError(t, s.SetDSN(second.DSN))
	s.Capture(t.Context(), errors.New("after"), telemetry.Operation{Name: "second"})
	require.True(t, s.Flush(10*time.Second))
	require.Eventually(t, func() bool { return len(first.Events()) == 1 && len(second.Events()) == 1 }, 10*time.Second, 10*time.Millisecond)
	require.Contains(t, first.Events()[0].Text(), "before")
	require.Contains(t, second.Events()[0].Text(), "after")
}
