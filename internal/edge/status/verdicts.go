package status

import (
	"slices"
	"time"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

func checkBacklog(in Intake) api.DerivedCheck {
	if age, over := in.Backlog(); over {
		return api.DerivedCheck{Error: "events wait " + age.Round(time.Second).String() + " for a worker; webhooks are refused"}
	}
	return api.DerivedCheck{OK: true}
}

// checkConnections wants at least one store to have a subscription if there are any to subscribe and one has failed: that none
// has speaks of the sync backend and not of a store. Fewer are a warning.
func checkConnections(st state) api.DerivedCheck {
	if st.overview == nil {
		return api.DerivedCheck{Error: "unknown, the store manager can't be asked"}
	}
	c := st.overview.Connections
	subscribed := int64(c[storemanager.ConnectionConnected])
	if st.overview.Monitors != nil {
		subscribed = st.overview.Monitors.Subscribed // a stuck store may have one
	}
	failed := c[storemanager.ConnectionDisconnected] + c[storemanager.ConnectionError] + c[storemanager.ConnectionStuck]
	if failed > 0 && subscribed == 0 {
		return api.DerivedCheck{Error: "no store is connected to its sync backend"}
	}
	return api.DerivedCheck{OK: true}
}

// runSilence is how long a run may show no progress: more than the minute after which Temporal takes a silent step to be lost, and
// the time until its next attempt.
const runSilence = 2 * time.Minute

// checkReconciliation wants a success within two intervals. A run that began within them and goes on is given the time it takes, however
// short the interval. A schedule that an operator has paused for longer fails it too.
func (s *Status) checkReconciliation(st state, now time.Time) api.DerivedCheck {
	if !s.config.ReconcileEnabled {
		return api.DerivedCheck{OK: true}
	}
	if st.reconciliation == nil {
		return api.DerivedCheck{Error: "unknown, the store manager can't be asked"}
	}
	limit, since, why := 2*s.interval(st), s.successDueSince(st), ""
	switch run := st.run; {
	case now.Sub(since) <= limit:
		return api.DerivedCheck{OK: true}
	case run == nil || run.StartedAt.IsZero() || run.StartedAt.Sub(since) > limit:
	case now.Sub(run.LastSign) <= runSilence:
		return api.DerivedCheck{OK: true}
	default:
		why = ", the one under way shows no progress since " + run.LastSign.UTC().Format(time.RFC3339)
	}
	if st.schedule != nil && st.schedule.Paused {
		why += ", the schedule is paused"
	}
	return api.DerivedCheck{Error: "no successful run for two intervals" + why}
}

// interval is the longer one while the schedule, which a worker keeps, has not yet that of the edge's settings.
func (s *Status) interval(st state) time.Duration {
	every := time.Duration(s.config.ReconcileInterval)
	if st.schedule != nil {
		every = max(every, st.schedule.Every)
	}
	return every
}

// successDueSince is the last success, or the start of this edge or the end of a pause if that came later: nobody could know better
// before, unless runs had failed by then.
func (s *Status) successDueSince(st state) time.Time {
	rec, since, pauseEnded := st.reconciliation, time.Time{}, time.Time{}
	if at := s.pausedLast.Load(); at != nil {
		pauseEnded = *at
	}
	if rec.LastSuccessAt != nil {
		since = *rec.LastSuccessAt
	}
	if st.schedule != nil && st.schedule.Paused {
		pauseEnded = time.Time{} // not yet
	}
	for _, anew := range []time.Time{s.started, pauseEnded} {
		before := slices.IndexFunc(rec.Recent, func(run storemanager.ReconcileRun) bool { return run.CompletedAt.Before(anew) })
		if failing := before >= 0 && rec.Recent[before].Error != ""; anew.After(since) && !failing {
			since = anew
		}
	}
	return since
}
