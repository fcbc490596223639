package storemanager

import "time"

// MaxClockLead is how far ahead of the store manager's clock the clock of an event's origin may be.
const MaxClockLead = 5 * time.Minute

// Believed is the moment of an event as far as it is believed, in the precision of Precise. An event from more than MaxClockLead after now, by the store
// manager's clock, counts as one of that moment: else all that comes after it would be stale until its time has come.
func Believed(at, now time.Time) time.Time {
	if latest := now.Add(MaxClockLead); at.After(latest) {
		at = latest
	}
	return Precise(at)
}

// Precise is t as the store manager keeps moments and shows them: in UTC and in microseconds.
func Precise(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
