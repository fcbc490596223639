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
	firstPause = 500 * time.Millisecond
	maxPause   = 5 * time.Second
	maxAnswer  = 64 << 10
)

// Answer is what a delivery came to.
type Answer struct {
	// DeliveryID is the webhook-id of every attempt. It is made of the event alone.
	DeliveryID string
	// Attempts is how many requests were made.
	Attempts int
	// Status is the HTTP status of the last one's answer, 0 when there was none.
	Status int
	// Replayed: the receiver has answered this delivery before, says so (Idempotent-Replayed), and did nothing now.
	Replayed bool
	// Body is the beginning of that answer's body, up to 64 KiB.
	Body []byte
}

// Deliver sends an event until it is taken, which any 2xx means, and returns the last answer. The error is nil when the event was taken,
// ErrOff when nothing is set up, ErrTimestamp when the event can't be sent, and else why the last attempt failed. It logs every attempt that fails.
//
// What fails is tried again, with the same id and body and a new signature: network errors, time-outs and every status but the
// 4xx that another attempt would get as well. Of these 408, 425 and 429 are worth another attempt, and so is 401, because keys are
// not rotated everywhere in the same moment. Pauses double from about 0.5 s, with jitter. A Retry-After of 429 and 503 comes on top. A pause
// that the budget or ctx does not leave time for ends the delivery.
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
		if answer.Attempts == n.attempts || final(answer.Status) || !pause(ctx, backoff(answer.Attempts)+wait) {
			return answer, fmt.Errorf("the webhook was not taken: %w", err)
		}
	}
}

// attempt makes one request. It returns nil for a 2xx, else why it was none and how long the receiver wants to be left alone.
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
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
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

// retryAfter is 0 where nothing is said, or nothing that makes sense.
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

// backoff is the pause after so many attempts: a random time between half and all of what doubles each time.
func backoff(attempts int) time.Duration {
	most := maxPause
	if doublings := attempts - 1; doublings < 4 {
		most = min(maxPause, firstPause<<doublings)
	}
	return most/2 + rand.N(most/2+1) //nolint:gosec // it spreads load and guards nothing
}

// pause waits, or says that ctx does not leave time for it.
func pause(ctx context.Context, d time.Duration) bool {
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
