package status

import (
	"cmp"
	"fmt"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// stalledAfter is how long after its DeleteAt a deletion has stalled. The re-check takes some seconds.
const stalledAfter = time.Minute

// surroundings are what a store's conditions depend on beside the store.
type surroundings struct {
	now      time.Time
	overview storemanager.Overview
	// lifecycle is nil when it is not known, or does not run.
	lifecycle *contract.LifecycleStatus
	// authWorker is why the Auth Worker gave no list that counts; "" if it did, or nobody has asked.
	authWorker string
}

// conditions are one of each type, in a fixed order.
func conditions(st storemanager.Store, s surroundings) []api.Condition {
	return []api.Condition{
		provisioned(st), connected(st), drifted(st), deletionPending(st, s), held(st.Hold), paused(st.Pause, s.overview.Paused), stalled(st, s),
	}
}

func provisioned(st storemanager.Store) api.Condition {
	c := api.Condition{Type: api.ConditionProvisioned}
	switch {
	case st.State != storemanager.StateMonitored:
		c.Reason, c.Since = "Stopped", st.LastStoppedAt
	case st.Failing != nil:
		c.Reason, c.Message, c.Since, c.NextAttempt = repairFailing(st.Failing)
	default:
		c.Status, c.Reason, c.Since = true, "Monitored", st.FirstMonitoredAt
	}
	return c
}

func repairFailing(f *storemanager.Failure) (reason, message string, since, next *time.Time) {
	return "RepairFailing", fmt.Sprintf("%s (attempts: %d)", f.LastError, f.Attempts), &f.Since, &f.NextAttemptAt
}

var connectionReasons = map[storemanager.ConnectionState]string{
	storemanager.ConnectionNotConfigured: "NotConfigured",
	storemanager.ConnectionConnecting:    "Connecting",
	storemanager.ConnectionConnected:     "Subscribed",
	storemanager.ConnectionDisconnected:  "Disconnected",
	storemanager.ConnectionError:         "Error",
	storemanager.ConnectionStuck:         "Stuck",
	storemanager.ConnectionStopped:       "Stopped",
}

// connected: a stuck store counts too as long as it has a subscription.
func connected(st storemanager.Store) api.Condition {
	c := api.Condition{
		Type: api.ConditionConnected, Status: st.Connection == storemanager.ConnectionConnected,
		Reason: cmp.Or(connectionReasons[st.Connection], "Unknown"),
	}
	m := st.Monitor
	if m == nil {
		return c
	}
	c.Since, c.NextAttempt, c.Message = &m.Since, m.NextAttemptAt, m.Reason
	if m.ConnectedAt != nil {
		c.Status, c.Since = true, m.ConnectedAt
	}
	return c
}

// drifted goes by the marks of reconciliation. It marks no store that it leaves alone, so of these it is not known.
func drifted(st storemanager.Store) api.Condition {
	leftAlone := st.Hold != nil || st.Pinned || st.Pause != nil || st.Deletion != nil
	switch {
	case st.UnlistedSince == nil && leftAlone:
		return api.Condition{
			Type: api.ConditionDrifted, Unknown: true, Reason: "Protected",
			Message: "reconciliation takes no note of what lists lack while the store is held, pinned or paused, or its deletion is pending",
		}
	case st.UnlistedSince == nil:
		return api.Condition{Type: api.ConditionDrifted, Reason: "NotMissed"}
	}
	return api.Condition{
		Type: api.ConditionDrifted, Status: true, Reason: "NotListed", Message: "the Auth Worker's list lacks the workspace", Since: st.UnlistedSince,
	}
}

// deletionPending goes by the registry, which alone decides; the lifecycle only knows who asked.
func deletionPending(st storemanager.Store, s surroundings) api.Condition {
	c := api.Condition{Type: api.ConditionDeletionPending, Reason: "None"}
	d := st.Deletion
	if d == nil {
		return c
	}
	c.Status, c.Since, c.NextAttempt = true, &d.EventAt, &d.DeleteAt
	c.Reason, c.Message = "GracePeriod", "the store is to be stopped when the grace period ends and a re-check agrees"
	if !s.now.Before(d.DeleteAt) {
		c.NextAttempt = nil // it has begun
		c.Reason, c.Message = "Recheck", "the grace period has ended, "+recheck(s)
	}
	if l := s.lifecycle; l != nil && l.Deletion != nil {
		c.Message += "; asked for by " + string(l.Deletion.Source)
	}
	if st.ListedSince != nil {
		c.Message += "; the list has the workspace again since " + st.ListedSince.Format(time.RFC3339) + ", and if the next one has it too the deletion ends"
	}
	return c
}

// recheck says how far the re-check of a due deletion has come.
func recheck(s surroundings) string {
	switch {
	case s.overview.Loss() != nil:
		return "and no store is stopped before the loss of the registry is acknowledged"
	case s.authWorker != "":
		return "and the re-check waits: " + s.authWorker
	case s.lifecycle == nil || s.lifecycle.Deletion == nil:
		return "and no re-check is known to be under way"
	}
	return "the re-check with the Auth Worker is under way"
}

func held(h *storemanager.Hold) api.Condition {
	if h == nil {
		return api.Condition{Type: api.ConditionHeld, Reason: "NoHold"}
	}
	return api.Condition{
		Type: api.ConditionHeld, Status: true, Reason: "Hold", Message: because(h.Actor, h.Reason, h.ExpiresAt, "released"), Since: &h.Since,
	}
}

// paused tells of the store's own pause and of that of all. Reconciliation comes back to the store when both are over.
func paused(own, all *storemanager.Pause) api.Condition {
	c := api.Condition{Type: api.ConditionPaused, Reason: "NoPause"}
	if own != nil {
		c = pausedBy(own, "StorePaused")
	}
	if all == nil {
		return c
	}
	ofAll := pausedBy(all, "AllPaused")
	if own == nil {
		return ofAll
	}
	c.Message += "; all stores are paused " + ofAll.Message
	if all.Since.Before(*c.Since) {
		c.Since = &all.Since
	}
	switch {
	case own.ExpiresAt == nil || all.ExpiresAt == nil:
		c.NextAttempt = nil
	case all.ExpiresAt.After(*own.ExpiresAt):
		c.NextAttempt = all.ExpiresAt
	}
	return c
}

func pausedBy(p *storemanager.Pause, reason string) api.Condition {
	return api.Condition{
		Type: api.ConditionPaused, Status: true, Reason: reason, Message: because(p.Actor, p.Reason, p.ExpiresAt, "resumed"),
		Since: &p.Since, NextAttempt: p.ExpiresAt,
	}
}

// because says who protects a store, until when and why.
func because(actor, reason string, expiresAt *time.Time, otherwise string) string {
	return fmt.Sprintf("by %s until %s: %s", actor, untilWhen(expiresAt, otherwise), reason)
}

// untilWhen is the time, or otherwise when there is none.
func untilWhen(expiresAt *time.Time, otherwise string) string {
	if expiresAt == nil {
		return otherwise
	}
	return expiresAt.UTC().Format(time.RFC3339)
}

// stalled names the first thing that does not get on.
func stalled(st storemanager.Store, s surroundings) api.Condition {
	c := api.Condition{Type: api.ConditionStalled, Reason: "GettingOn"}
	switch {
	case st.Failing != nil:
		c.Status = true
		c.Reason, c.Message, c.Since, c.NextAttempt = repairFailing(st.Failing)
	case st.Deletion != nil && s.now.Sub(st.Deletion.DeleteAt) > stalledAfter:
		c.Status, c.Since = true, &st.Deletion.DeleteAt
		c.Reason, c.Message = "DeletionOverdue", "the store is not stopped: the grace period has ended, "+recheck(s)
	case st.Connection == storemanager.ConnectionStuck:
		c.Status, c.Reason = true, "EventsStuck"
		if m := st.Monitor; m != nil {
			c.Message, c.Since, c.NextAttempt = m.Reason, &m.Since, m.NextAttemptAt
		}
	}
	return c
}
