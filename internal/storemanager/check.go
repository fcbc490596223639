package storemanager

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxText bounds, in bytes, each text that a caller chooses: owners, request and run ids, and reason and actor of holds, pauses and
	// acknowledgements. It is Temporal's own limit for ids. A longer id is refused; a longer reason or actor is cut.
	MaxText = 1000
	// maxReport bounds, in bytes, Error and Report of a ReconcileRun together, because KeptReconcileRuns of them are shown at once.
	maxReport = 64 << 10
)

// Validate returns an ErrInvalid that says what is wrong with the request; nil if nothing is. So do all methods of this name.
func (q EnsureRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), CheckTime("at", q.At), checkLength("requestId", q.RequestID))
}

// Validate is as that of EnsureRequest.
func (q DeletionRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), CheckTime("at", q.At), CheckTime("deleteAt", q.DeleteAt), checkText("owner", q.Owner), checkDuration("gracePeriod", q.GracePeriod))
}

// Validate is as that of EnsureRequest. A missing AbsentAt is no error here.
func (q StopRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), checkText("owner", q.Owner))
}

// Validate is as that of EnsureRequest.
func (q CancelRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), checkLength("owner", q.Owner))
}

// Validate is as that of EnsureRequest.
func (q TakeOverRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), checkText("owner", q.Owner))
}

// Validate is as that of EnsureRequest.
func (q RestoreRequest) Validate() error {
	return firstOf(CheckID(q.StoreID), CheckTime("eventAt", q.EventAt), CheckTime("deleteAt", q.DeleteAt), checkText("owner", q.Owner))
}

// Validate is as that of EnsureRequest.
func (a Acknowledgement) Validate() error { return checkProtection(a.Reason, a.Actor, nil) }

// Validate is as that of EnsureRequest. It does not look whether the hold has expired already.
func (h Hold) Validate() error { return checkProtection(h.Reason, h.Actor, h.ExpiresAt) }

// Validate is as that of EnsureRequest. It does not look whether the pause has expired already.
func (p Pause) Validate() error {
	return firstOf(CheckScope(p.StoreID), checkProtection(p.Reason, p.Actor, p.ExpiresAt))
}

// CheckScope returns an ErrInvalid unless storeID is the scope of a pause: the id of a store, or "" for all stores.
func CheckScope(storeID string) error {
	if storeID == "" {
		return nil
	}
	return CheckID(storeID)
}

// checkProtection checks what a hold and a pause have in common.
func checkProtection(reason, actor string, expiresAt *time.Time) error {
	err := firstOf(checkRequired("reason", reason), checkRequired("actor", actor))
	if err == nil && expiresAt != nil {
		err = CheckTime("expiresAt", *expiresAt)
	}
	return err
}

// Validate is as that of EnsureRequest.
func (run ReconcileRun) Validate() error {
	err := firstOf(checkText("runId", run.RunID), CheckTime("startedAt", run.StartedAt), CheckTime("completedAt", run.CompletedAt))
	switch {
	case err != nil:
		return err
	case len(run.Error)+len(run.Report) > maxReport:
		return fmt.Errorf("%w: error and report together are over %d bytes", ErrInvalid, maxReport)
	case len(run.Lists) > 2:
		return fmt.Errorf("%w: %d lists, the first and the last are taken", ErrInvalid, len(run.Lists))
	case len(run.Report) > 0 && !json.Valid(run.Report):
		return fmt.Errorf("%w: report is no JSON", ErrInvalid)
	}
	return nil
}

// CheckID returns an ErrInvalid unless id can be the id of a store.
func CheckID(id string) error {
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
	if len(s) > MaxText {
		return fmt.Errorf("%w: %s is over %d bytes", ErrInvalid, name, MaxText)
	}
	return nil
}

// CheckTime returns an ErrInvalid, with the name of the field, for the zero time and for a year that JSON can't express: what is stored must
// come out again.
func CheckTime(name string, t time.Time) error {
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

// Validate is as that of EnsureRequest.
func (m ListMarks) Validate() error {
	if n := len(m.Unlisted) + len(m.Listed); n > MaxBatch {
		return fmt.Errorf("%w: %d stores in one request, at most %d are taken", ErrInvalid, n, MaxBatch)
	}
	for _, id := range slices.Concat(m.Unlisted, m.Listed) {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	return CheckTime("listAt", m.ListAt)
}

// Validate is as that of EnsureRequest.
func (q ListRequest) Validate() error {
	if q.Cursor != "" && !ValidID(q.Cursor) {
		return fmt.Errorf("%w: %.80q is no cursor", ErrInvalid, q.Cursor)
	}
	if q.Limit < 0 || q.Limit > MaxBatch {
		return fmt.Errorf("%w: limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxBatch)
	}
	if err := checkLength("user", q.UserID); err != nil {
		return err
	}
	states := ListStates()
	for _, state := range q.States {
		if !slices.Contains(states, state) {
			return fmt.Errorf("%w: %.40q is no state to list, these are: %s", ErrInvalid, state, strings.Join(states, ", "))
		}
	}
	return nil
}
