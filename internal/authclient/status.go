package authclient

import (
	"errors"
	"maps"
	"net/http"
	"time"
)

// Outcome is how an attempt to get a list ended: one of a fixed set.
type Outcome string

// The outcomes.
const (
	OutcomeComplete     Outcome = "complete"
	OutcomeUnauthorized Outcome = "unauthorized"
	// OutcomeTooMany: status 429.
	OutcomeTooMany Outcome = "too_many_requests"
	OutcomeDamaged Outcome = "damaged"
	OutcomeCached  Outcome = "cached"
	OutcomeTimeout Outcome = "timeout"
	// OutcomeFailed is any other.
	OutcomeFailed Outcome = "failed"
)

// Outcomes returns all of them.
func Outcomes() []Outcome {
	return []Outcome{OutcomeComplete, OutcomeUnauthorized, OutcomeTooMany, OutcomeDamaged, OutcomeCached, OutcomeTimeout, OutcomeFailed}
}

// OutcomeOf is how an attempt ended that came to this error; nil is OutcomeComplete.
func OutcomeOf(err error) Outcome {
	var status *StatusError
	switch {
	case err == nil:
		return OutcomeComplete
	case errors.Is(err, ErrUnauthorized):
		return OutcomeUnauthorized
	case errors.As(err, &status) && status.Code == http.StatusTooManyRequests:
		return OutcomeTooMany
	case errors.Is(err, ErrDamaged):
		return OutcomeDamaged
	case errors.Is(err, ErrCached):
		return OutcomeCached
	case errors.Is(err, ErrTimeout):
		return OutcomeTimeout
	}
	return OutcomeFailed
}

// Status is how the lists of a Client went, for all callers. Attempts that a caller broke off, or could not receive, are left out.
type Status struct {
	// ListAt is the ListSummary.FetchStartedAt of the newest complete list, also of one that has not changed; zero before the first.
	ListAt time.Time
	// EndedAt is when the newest attempt ended; zero when none has. Err is why it failed, nil if it gave a list.
	EndedAt time.Time
	Err     error
	// NextAt is when the list will be asked for that re-checks wait for; zero when none waits, or that list is under way.
	NextAt time.Time
	// QuietUntil is until when the Auth Worker asked to be left alone, at most 1 min ahead; zero when that is over. Re-checks obey it.
	// Reconciliation decides for itself.
	QuietUntil time.Time
	// Ended counts the attempts since the Client was made.
	Ended map[Outcome]int64
}

// Status returns how the lists went so far.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	s := c.status
	s.Ended = maps.Clone(s.Ended)
	if c.quietTil.After(now) {
		s.QuietUntil = c.quietTil
	}
	if c.next != nil {
		if s.NextAt = c.earliest; s.NextAt.Before(c.quietTil) {
			s.NextAt = c.quietTil
		}
		if !s.NextAt.After(now) {
			s.NextAt = time.Time{}
		}
	}
	return s
}

// note takes an attempt that has ended.
func (c *Client) note(got fetched, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Ended[OutcomeOf(err)]++
	c.status.EndedAt, c.status.Err = time.Now(), err
	if err == nil && got.FetchStartedAt.After(c.status.ListAt) {
		c.status.ListAt = got.FetchStartedAt
	}
}
