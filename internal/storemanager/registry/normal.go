package registry

import (
	"fmt"
	"time"

	"storekeeper/internal/storemanager"
)

// normalAcknowledgement is the acknowledgement as it is kept. Its texts are cut like those of a hold.
func normalAcknowledgement(a storemanager.Acknowledgement) storemanager.Acknowledgement {
	a.Reason, a.Actor = storemanager.Cut(a.Reason), storemanager.Cut(a.Actor)
	return a
}

// normalHold is the hold as it is kept. Long texts are cut and not refused, so that no store is deleted because an operator told a long story.
func normalHold(h storemanager.Hold) storemanager.Hold {
	h.Reason, h.Actor, h.ExpiresAt = storemanager.Cut(h.Reason), storemanager.Cut(h.Actor), preciseOptional(h.ExpiresAt)
	return h
}

// normalPause is the pause as it is kept. Its texts are cut like those of a hold.
func normalPause(p storemanager.Pause) storemanager.Pause {
	p.Reason, p.Actor, p.ExpiresAt = storemanager.Cut(p.Reason), storemanager.Cut(p.Actor), preciseOptional(p.ExpiresAt)
	return p
}

// checkExpiry returns an ErrInvalid for a hold or pause that ends at now or before; nil expiresAt is none.
func checkExpiry(expiresAt *time.Time, now time.Time) error {
	if expiresAt != nil && !expiresAt.After(now) {
		return fmt.Errorf("%w: expiresAt %s is in the past", storemanager.ErrInvalid, expiresAt.Format(time.RFC3339Nano))
	}
	return nil
}
