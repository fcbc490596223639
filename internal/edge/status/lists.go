package status

import (
	"errors"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/orchestrator"
)

// listCheck is a verdict on the Auth Worker's lists.
type listCheck struct {
	api.ListCheck
	// tolerable: one attempt has failed for what may pass, and a list came within two intervals. That is worth a warning, and no
	// reason to take the edge for broken.
	tolerable bool
}

func (c listCheck) warnings() []string {
	if !c.tolerable {
		return nil
	}
	return []string{"authWorker: " + c.Error}
}

// listNews is how an attempt to get a list ended.
type listNews struct {
	endedAt time.Time
	err     error     // nil: it gave a list
	nextAt  time.Time // zero: not known
}

// checkLists goes by the newest attempt that is known. This process's own client, the run under way and the recorded runs may know of one.
func (s *Status) checkLists(st state, now time.Time) listCheck {
	c := listCheck{ListCheck: api.ListCheck{OK: true}}
	var newest listNews
	for _, news := range []listNews{newsOfRuns(st), newsOfAttempt(st.run), s.newsOfClient(&c)} {
		if news.endedAt.After(newest.endedAt) {
			newest = news
		}
	}
	if result := newestReport(st.reconciliation, func(r *contract.ReconcileReport) bool { return !r.ListAt.IsZero() }); result != nil {
		if c.ListAt == nil || c.ListAt.Before(result.ListAt) {
			c.ListAt = utc(result.ListAt)
		}
	}
	c.CheckedAt, c.NextAttemptAt = utc(newest.endedAt), utc(newest.nextAt)
	if c.NextAttemptAt == nil {
		c.NextAttemptAt = nextScheduledRun(st, now)
	}
	if newest.err != nil {
		c.OK, c.Error, c.Detail = false, sayList(newest.err), newest.err.Error()
	}
	if c.QuietUntil != nil && !c.OK {
		c.Error += ", and is left alone until " + c.QuietUntil.Format(time.RFC3339)
	}
	refused := errors.Is(newest.err, authclient.ErrUnauthorized) // which does not pass by itself
	c.tolerable = !c.OK && !refused && c.ListAt != nil && now.Sub(*c.ListAt) <= 2*s.interval(st)
	return c
}

// newsOfClient also notes in c what else this process's client knows.
func (s *Status) newsOfClient(c *listCheck) listNews {
	if s.authWorker == nil {
		return listNews{}
	}
	status := s.authWorker.Status()
	c.ListAt, c.QuietUntil = utc(status.ListAt), utc(status.QuietUntil)
	return listNews{status.EndedAt, status.Err, status.NextAt}
}

// newsOfAttempt is zero when the attempt failed for another reason than the list.
func newsOfAttempt(run *orchestrator.UnderWay) listNews {
	if run == nil || run.List == nil {
		return listNews{}
	}
	a := run.List
	news := listNews{a.EndedAt, authclient.FromText(a.Failure), a.NextAt}
	switch {
	case a.Failure == "":
	case news.err == nil:
		return listNews{}
	default:
		news.err = recorded{news.err, a.Failure}
	}
	return news
}

// newsOfRuns is the news of the newest run that says anything of a list.
func newsOfRuns(st state) listNews {
	if st.reconciliation == nil {
		return listNews{}
	}
	for _, run := range st.reconciliation.Recent {
		if err := authclient.FromText(run.Error); err != nil {
			return listNews{endedAt: run.CompletedAt, err: recorded{err, run.Error}}
		}
		if report := reportOf(run); report != nil && !report.ListAt.IsZero() {
			// The run's end would be wrong: an attempt may have failed while the run repaired. The list's time may be wrong, too: a list out of
			// a cache is older than the run that got it.
			if run.StartedAt.After(report.ListAt) {
				return listNews{endedAt: run.StartedAt}
			}
			return listNews{endedAt: report.ListAt}
		}
	}
	return listNews{}
}

// recorded is an error with the words in which it was recorded.
type recorded struct {
	error
	text string
}

func (r recorded) Error() string { return r.text }
func (r recorded) Unwrap() error { return r.error }

// nextScheduledRun is nil when none is to come, and when that is not known. The times of a schedule are multiples of its interval; jitter makes
// a run up to half a minute later.
func nextScheduledRun(st state, now time.Time) *time.Time {
	if st.schedule == nil || st.schedule.Paused || st.schedule.Every <= 0 {
		return nil
	}
	sinceEpoch := time.Duration(now.UnixNano())
	return utc(now.Add(st.schedule.Every - sinceEpoch%st.schedule.Every))
}

func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func sayList(err error) string {
	switch authclient.OutcomeOf(err) {
	case authclient.OutcomeUnauthorized:
		return "the Auth Worker refused the token"
	case authclient.OutcomeDamaged:
		return "the Auth Worker's list is damaged"
	case authclient.OutcomeCached:
		return "the Auth Worker's list comes out of a cache"
	case authclient.OutcomeTimeout:
		return "the Auth Worker takes too long"
	case authclient.OutcomeTooMany:
		return "the Auth Worker has had too many requests"
	case authclient.OutcomeComplete, authclient.OutcomeFailed:
	}
	if _, answered := errors.AsType[*authclient.StatusError](err); answered {
		return "the Auth Worker answers with an error"
	}
	return "the Auth Worker can't be reached"
}
