package notifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 5 * time.Second
	maxAnswer  = 64 << 10
)

// Answer is what a delivery came to.
type Answer struct {
	// DeliveryID is the webhook-id of every attempt. It depends on the event alone.
	DeliveryID string
	// Attempts is how many requests were made.
	Attempts int
	// Status is the HTTP status of the last attempt's answer; 0 when no answer came.
	Status int
	// Replayed: the receiver has answered this delivery before and did nothing this time (it says Idempotent-Replayed).
	Replayed bool
	// Body is the beginning of the last answer's body, up to 64 KiB.
	Body []byte
}

// Deliver sends an event until it is taken, and returns the last answer. Any 2xx means that it was taken. The error is nil then,
// ErrOff when no URL or no secret is set, ErrTimestamp when the event can't be sent, and otherwise says why the last attempt failed.
// Every attempt that fails is logged.
//
// An attempt that failed is followed by another one, with the same id and body and a new signature. This holds for network errors,
// time-outs, and every status that is not a 4xx. A 4xx ends the delivery, because the next attempt would get it too; except for 408,
// 425 and 429, and for 401, because keys are not changed everywhere in the same moment. Pauses double from about 0.5 s up to 5 s, with
// jitter. A Retry-After of 429 and 503 is added to the pause. The delivery ends when the budget, or ctx, has no time left for the pause.
func (n *Notifier) Deliver(ctx context.Context, ev Event) (Answer, error) {
	if n.url == "" {
		return Answer{}, ErrOff
	}
	if year := ev.Timestamp.UTC().Year(); year < 0 || year > 9999 {
		return Answer{}, ErrTimestamp
	}
	ctx, cancel := context.WithTimeout(ctx, n.budget)
	defer cancel()
	body := ev.body()
	answer := Answer{DeliveryID: deliveryID(body)}
	for {
		answer.Attempts++
		wait, err := n.attempt(ctx, body, &answer)
		if err == nil {
			return answer, nil
		}
		n.logger(ev).WarnContext(ctx, "workspace event not taken",
			"deliveryId", answer.DeliveryID, "attempt", answer.Attempts, "error", err)
		if answer.Attempts == n.attempts || final(answer.Status) || !sleep(ctx, backoff(answer.Attempts)+wait) {
			return answer, fmt.Errorf("the webhook was not taken: %w", err)
		}
	}
}

// attempt makes one request. The error is nil for a 2xx; otherwise it says what came, and wait is how long the receiver asks to be
// left alone.
func (n *Notifier) attempt(ctx context.Context, body []byte, answer *Answer) (wait time.Duration, _ error) {
	answer.Status, answer.Replayed, answer.Body = 0, false, nil
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = n.header(answer.DeliveryID, time.Now(), body)
	resp, err := n.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // its text repeats the URL
			err = wrapped.Err
		}
		return 0, err
	}
	defer resp.Body.Close()
	answer.Status, answer.Replayed = resp.StatusCode, resp.Header.Get("Idempotent-Replayed") == "true"
	answer.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status alone decides
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return 0, nil
	}
	return retryAfter(resp, time.Now()), fmt.Errorf("the receiver answered with status %d", resp.StatusCode)
}

// final says whether another attempt would get the same answer.
func final(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status <= 499
}

// retryAfter returns how long the answer asks to wait; 0 when it does not ask, or not in a way that makes sense.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	said := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(said, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(said); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// backoff returns the delay after so many attempts: a random time between half of a limit and the limit, which doubles each time.
func backoff(attempts int) time.Duration {
	most := maxDelay
	if doublings := attempts - 1; doublings < 4 {
		most = min(maxDelay, firstDelay<<doublings)
	}
	return most/2 + rand.N(most/2+1) //nolint:gosec // it spreads load and guards nothing
}

// sleep waits for d. It returns false at once when ctx leaves no time for that, and when ctx ends meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
