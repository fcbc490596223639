package storemanager

import "time"

// restoreDeletion gives the store the pending deletion back that a registry has lost and the run that waits for it still knows, and
// says whether it did. What is known beside it and is newer counts: a later event, an operator's cancel or hold, a pin. A tombstone that
// is older is that of an earlier life, out of a backup. Of two deletions the newer one is kept.
func (s *record) restoreDeletion(q RestoreRequest, now time.Time) bool {
	switch {
	case s.unknown(), !s.monitored() && s.eventAt.Before(q.EventAt):
		s.revive(q.EventAt, now)
	case !s.monitored(), s.held(), s.pinned,
		s.eventAt.After(q.EventAt), !q.EventAt.After(s.cancelledEventAt),
		s.pending() && !q.EventAt.After(s.deletion.EventAt):
		return false
	}
	s.deletion = Deletion{EventAt: q.EventAt, Since: now, DeleteAt: q.DeleteAt, Owner: q.Owner, ByList: q.ByList}
	s.listedSince, s.listedAt = time.Time{}, time.Time{}
	if !q.ByList {
		s.missingSince = time.Time{}
	}
	return true
}
