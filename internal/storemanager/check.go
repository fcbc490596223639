package storemanager

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const (
	// maxText bounds, in bytes, each text that a caller chooses: owners, request and run ids, and, of holds and pauses, reason
	// and actor. It is Temporal's own limit for ids.
	maxText = 1000
	// maxReport bounds, in bytes, what a reconcile run leaves: KeptReconcileRuns of them are shown at once.
	maxReport = 64 << 10
)

func (q EnsureRequest) check() error {
	return firstOf(checkID(q.StoreID), checkTime("at", q.At), checkLength("requestId", q.RequestID))
}

func (q DeletionRequest) check() error {
	return firstOf(checkID(q.StoreID), checkTime("at", q.At), checkTime("deleteAt", q.DeleteAt), checkText("owner", q.Owner), checkDuration("gracePeriod", q.GracePeriod))
}

func (q StopRequest) check() error {
	return firstOf(checkID(q.StoreID), checkText("owner", q.Owner))
}

func (q CancelRequest) check() error {
	return firstOf(checkID(q.StoreID), checkLength("owner", q.Owner))
}

func (q TakeOverRequest) check() error {
	return firstOf(checkID(q.StoreID), checkText("owner", q.Owner))
}

func (q RestoreRequest) check() error {
	return firstOf(checkID(q.StoreID), checkTime("eventAt", q.EventAt), checkTime("deleteAt", q.DeleteAt), checkText("owner", q.Owner))
}

func (a Acknowledgement) check() error { return checkProtection(a.Reason, a.Actor, nil) }

// normal is the acknowledgement as it is kept, its texts cut like those of a hold.
func (a Acknowledgement) normal() Acknowledgement {
	a.Reason, a.Actor = cut(a.Reason), cut(a.Actor)
	return a
}

func (h Hold) check() error { return checkProtection(h.Reason, h.Actor, h.ExpiresAt) }

// normal is the hold as it is kept. Long texts are cut, not refused: the store of an operator with a long story must not be
// deleted for it.
func (h Hold) normal() Hold {
	h.Reason, h.Actor, h.ExpiresAt = cut(h.Reason), cut(h.Actor), preciseOptional(h.ExpiresAt)
	return h
}

func (p Pause) check() error {
	return firstOf(checkScope(p.StoreID), checkProtection(p.Reason, p.Actor, p.ExpiresAt))
}

// normal is the pause as it is kept, its texts cut like those of a hold.
func (p Pause) normal() Pause {
	p.Reason, p.Actor, p.ExpiresAt = cut(p.Reason), cut(p.Actor), preciseOptional(p.ExpiresAt)
	return p
}

// checkScope takes the id of a store, or "" for all.
func checkScope(storeID string) error {
	if storeID == "" {
		return nil
	}
	return checkID(storeID)
}

// checkProtection checks what a hold and a pause have in common.
func checkProtection(reason, actor string, expiresAt *time.Time) error {
	err := firstOf(checkRequired("reason", reason), checkRequired("actor", actor))
	if err == nil && expiresAt != nil {
		err = checkTime("expiresAt", *expiresAt)
	}
	return err
}

func checkExpiry(expiresAt *time.Time, now time.Time) error {
	if expiresAt != nil && !expiresAt.After(now) {
		return fmt.Errorf("%w: expiresAt %s is in the past", ErrInvalid, expiresAt.Format(time.RFC3339Nano))
	}
	return nil
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	const mark = "…"
	return strings.ToValidUTF8(s[:maxText-len(mark)], "") + mark
}

func (run ReconcileRun) check() error {
	err := firstOf(checkText("runId", run.RunID), checkTime("startedAt", run.StartedAt), checkTime("completedAt", run.CompletedAt))
	switch {
	case err != nil:
		return err
	case len(run.Error)+len(run.Report) > maxReport:
		return fmt.Errorf("%w: error and report together are over %d bytes", ErrInvalid, maxReport)
	case len(run.Report) > 0 && !json.Valid(run.Report):
		return fmt.Errorf("%w: report is no JSON", ErrInvalid)
	}
	return nil
}

func checkID(id string) error {
	if !ValidID(id) {
		return fmt.Errorf("%w: %.80q can't be the id of a store", ErrInvalid, id)
	}
	return nil
}

func checkDuration(name string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%w: %s is negative", ErrInvalid, name)
	}
	return nil
}

func checkText(name, s string) error {
	return firstOf(checkRequired(name, s), checkLength(name, s))
}

func checkRequired(name, s string) error {
	if s == "" {
		return fmt.Errorf("%w: %s is required", ErrInvalid, name)
	}
	return nil
}

func checkLength(name, s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%w: %s is over %d bytes", ErrInvalid, name, maxText)
	}
	return nil
}

// checkTime refuses what JSON can't express: what is stored must come out again.
func checkTime(name string, t time.Time) error {
	if t.IsZero() {
		return fmt.Errorf("%w: %s is required", ErrInvalid, name)
	}
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return fmt.Errorf("%w: %s is out of the range of years", ErrInvalid, name)
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
