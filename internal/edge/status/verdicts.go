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

// checkConnections fails when a subscription has failed and no store has one: then it is the sync backend, and not a store. That some have none is
// a warning.
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

// runSilence is how long a run may show no progress. Temporal takes a step to be lost after a minute of silence; the rest is for its next attempt.
const runSilence = 2 * time.Minute

// checkReconciliation fails when no run has succeeded within two intervals, also because the schedule is paused for so long. A run that began
// within them and makes progress may take as long as it needs, however short the interval.
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

// interval is that of the edge's settings or that of the schedule, whichever is longer. They differ until a worker has given the schedule the new
// one.
func (s *Status) interval(st state) time.Duration {
	every := time.Duration(s.config.ReconcileInterval)
	if st.schedule != nil {
		every = max(every, st.schedule.Every)
	}
	return every
}

// successDueSince is from when on a success is waited for: the last one, or the start of this edge, or the end of a pause, whichever is latest.
// A start or a pause does not count when runs were failing before it.
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
