package status

import (
	"fmt"
	"strings"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
)

// slowRunWarning says that the run under way takes longer than the interval; nil when it does not.
func (s *Status) slowRunWarning(st state, now time.Time) []string {
	if st.run == nil || st.run.StartedAt.IsZero() || now.Sub(st.run.StartedAt) <= s.interval(st) {
		return nil
	}
	return []string{"reconciliation: the run under way takes longer than the interval, since " + st.run.StartedAt.UTC().Format(time.RFC3339)}
}

// warnings names stores and people only to those who bring the token.
func warnings(st state, trusted bool) []string {
	found := append([]string{}, installationWarnings(st)...)
	if st.overview != nil {
		found = append(found, storeWarnings(*st.overview, st.attended)...)
	}
	if paused := st.paused(); paused != nil && *paused {
		found = append(found, "reconciliation: the schedule is paused")
	}
	if st.pauses != nil {
		found = append(found, pauseWarnings(*st.pauses, trusted)...)
	}
	if st.overview != nil && st.overview.Guard != nil && st.overview.Loss() == nil { // a loss is a reason and no warning
		guard := st.overview.Guard
		found = append(found, "reconciliation: the guard holds back removals since "+guard.Since.Format(time.RFC3339)+", "+guard.Reason)
	}
	if last := lastResult(st.reconciliation); last != nil && last.Guard != "" && last.GuardVerdict == "" { // no approval ends this one
		found = append(found, "reconciliation: the guard holds back removals, "+last.Guard)
	}
	if last := lastResult(st.reconciliation); last != nil {
		found = append(found, failureWarnings(*last, trusted)...)
	}
	return found
}

// shownFailing is how many failing stores a warning names; lastResult names more.
const shownFailing = 5

// storeWarnings says what the stores are short of. attended is that of state.
func storeWarnings(o storemanager.Overview, attended *int) []string {
	var found []string
	for _, c := range []storemanager.ConnectionState{
		storemanager.ConnectionDisconnected, storemanager.ConnectionError, storemanager.ConnectionStuck,
	} {
		if n := o.Connections[c]; n > 0 {
			found = append(found, fmt.Sprintf("connections: %d of %d monitored stores: %s", n, o.Monitored, c))
		}
	}
	if o.DeletionOverdue > 0 {
		found = append(found, fmt.Sprintf("deletions: %d are overdue for more than five minutes: the Auth Worker or the store manager does not answer, or the lists take longer than %s",
			o.DeletionOverdue, authclient.RecheckTimeout))
	}
	if attended != nil && o.DeletionPendingLong > *attended {
		found = append(found, fmt.Sprintf("deletions: %d of %d that are pending have no lifecycle that waits for them (Temporal's database may have been lost): "+
			"the next reconcile run or start of a worker has them go on at their own time", o.DeletionPendingLong-*attended, o.DeletionPending))
	}
	return found
}

// failureWarnings says what the run could not repair, and what it left alone.
func failureWarnings(last contract.ReconcileReport, trusted bool) []string {
	var found []string
	if last.SetAsideCount > 0 {
		warning := fmt.Sprintf("reconciliation: %d listed ids differ from a monitored store's in case alone, and are left alone", last.SetAsideCount)
		if trusted {
			warning += ", among them " + strings.Join(last.SetAside[:min(len(last.SetAside), shownFailing)], ", ")
		}
		found = append(found, warning)
	}
	if last.Stale > 0 {
		found = append(found, fmt.Sprintf("reconciliation: %d listed stores were not added, for newer deletions are known", last.Stale))
	}
	if last.FailedAdds > 0 {
		warning := fmt.Sprintf("reconciliation: %d stores could not be added", last.FailedAdds)
		if trusted && len(last.Failing) > 0 {
			var ids []string
			for _, f := range last.Failing[:min(len(last.Failing), shownFailing)] {
				ids = append(ids, f.StoreID)
			}
			warning += ", among them " + strings.Join(ids, ", ")
		}
		found = append(found, warning)
	}
	if last.FailedRemovals > 0 {
		found = append(found, fmt.Sprintf("reconciliation: %d stores could not be handed over for removal", last.FailedRemovals))
	}
	return found
}

// pauseWarnings says what reconciliation leaves alone, and until when.
func pauseWarnings(pauses []storemanager.Pause, trusted bool) []string {
	var found []string
	stores := 0
	for _, p := range pauses {
		what := "all stores are paused until "
		if p.StoreID != "" {
			stores++
			if !trusted || stores > shownPauses {
				continue
			}
			what = "store " + p.StoreID + " is paused until "
		}
		warning := "reconciliation: " + what + untilWhen(p.ExpiresAt, "resumed")
		if trusted {
			warning += ", by " + p.Actor + ": " + p.Reason
		}
		found = append(found, warning)
	}
	if stores > 0 && (!trusted || stores > shownPauses) {
		found = append(found, fmt.Sprintf("reconciliation: paused stores: %d", stores))
	}
	return found
}
