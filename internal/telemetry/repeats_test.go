package telemetry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
)

func TestEqualNewsAreSentAtOnceAndThenCountedInWindowsThatGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRepeats(0)
		var mu sync.Mutex // windows end in goroutines of their own
		var all []int
		keep := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, n)
		}
		sent := func() []int {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		say := func(n int) {
			for range n {
				r.take("key", func(counted *repeated) {
					if counted == nil {
						keep(0)
						return
					}
					keep(counted.count)
				})
			}
		}
		pass := func(d time.Duration) {
			time.Sleep(d) //nolint:forbidigo // the clock is synctest's
			synctest.Wait()
		}
		say(10_000)
		require.Equal(t, []int{0}, sent())
		pass(time.Minute)
		require.Equal(t, []int{0, 9_999}, sent())
		say(1)
		pass(time.Minute)
		require.Len(t, sent(), 2, "the second window is longer")
		pass(time.Minute)
		require.Equal(t, []int{0, 9_999, 1}, sent())
		for range 24 * 60 { // a day
			say(100)
			pass(time.Minute)
		}
		require.LessOrEqual(t, len(sent()), 3+24+6)
		pass(3 * time.Hour)
		before := len(sent())
		say(1)
		require.Len(t, sent(), before+1, "after a quiet window it is news again")
		require.Zero(t, sent()[before])
		say(1)
		r.flush()
		require.Len(t, sent(), before+2)
		r.close()
		say(1)
		require.Len(t, sent(), before+3, "nobody counts any more")
	})
}

func TestTheKindOfAFailureHoldsNoText(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"Unavailable":          fmt.Errorf("store abc: %w", temporal.NewApplicationError("store abc is away", "Unavailable")),
		"timeout StartToClose": temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_START_TO_CLOSE, nil),
		"timeout":              fmt.Errorf("store abc: %w", context.DeadlineExceeded),
		"*errors.errorString":  fmt.Errorf("store %d: %w", 17, errors.New("gone")),
		"*telemetry.kindError": fmt.Errorf("store 1: %w", &kindError{}),
		"panic in storekeeper/internal/telemetry.nilMap": panics(),
	} {
		require.Equal(t, want, kindOf(err))
	}
}

type kindError struct{}

func (*kindError) Error() string { return "store abc" }

func nilMap(m map[string]int) { m["abc"] = 1 }

func panics() (err error) {
	defer func() { err = newPanicked(recover()) }()
	nilMap(nil)
	return nil
}

func TestNothingInAnEventHoldsASecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	stack := func() *sentry.Stacktrace {
		return &sentry.Stacktrace{Frames: []sentry.Frame{{
			ContextLine: secret, PreContext: []string{secret}, PostContext: []string{secret},
			Vars: map[string]any{"token": secret, secret: []any{secret, map[string]any{"deep": secret}}, "error": errors.New(secret)},
		}}}
	}
	event := scrub(&sentry.Event{
		Message: secret, Transaction: secret, ServerName: "host-" + secret, Fingerprint: []string{secret}, Tags: map[string]string{"tag": secret},
		Contexts:  map[string]sentry.Context{"workflow": {"stack": secret, "n": 1}},
		Request:   &sentry.Request{URL: secret, Data: secret, Headers: map[string]string{"Authorization": secret}},
		User:      sentry.User{Email: secret},
		Exception: []sentry.Exception{{Type: secret, Value: secret, Stacktrace: stack(), Mechanism: &sentry.Mechanism{Data: map[string]any{"a": secret}}}},
		Threads:   []sentry.Thread{{Stacktrace: stack()}},
	}, NewRedactor(secret))
	text, err := event.MarshalJSON()
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
	require.Contains(t, string(text), `"stack":"[redacted]"`)
	require.Contains(t, string(text), `"n":1`)
	require.Contains(t, string(text), `"deep":"[redacted]"`)
}
