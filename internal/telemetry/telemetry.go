// Package telemetry is what an operator sees of Storekeeper: logs (zap), failures (Sentry) and metrics (Prometheus). A process sets each of
// them up once, at its start, and passes it on. Nothing here is global.
//
// Of Storekeeper the package knows only how databases measure themselves (dbfile) and the version (build). Ids, operations and outcomes
// reach it as plain strings.
package telemetry

import "time"

// The outcomes an Operation may have.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	// OutcomeCancelled: the caller or a shutdown ended the operation early. It is never reported as a failure.
	OutcomeCancelled = "cancelled"
)

// Operation is one thing that was done for a workspace, as breadcrumbs and captured failures describe it.
type Operation struct {
	// StoreID is the store that it was done for; empty when it concerns no store or many.
	StoreID string
	// Name is what was done: an activity type, a workflow type, or "webhook". Names come from a fixed set and never hold an id.
	Name string
	// Phase is the part of the main path that it belongs to: "provision", "deletion" or "reconcile"; empty when unknown.
	Phase string
	// Kind is what kind of failure it ended with, from a fixed set; empty means that of its error. Failures of one name, phase and kind are one issue in
	// Sentry.
	Kind string
	// Outcome is one of the Outcome constants.
	Outcome string
	// Duration is how long it took.
	Duration time.Duration
}
