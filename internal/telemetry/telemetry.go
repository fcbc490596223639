// Package telemetry is what an operator sees of Storekeeper: logs (zap), failures (Sentry) and metrics (Prometheus). A
// process sets each of them up once, at its start, and hands it down; nothing here is global but Version.
//
// The package is a leaf: it imports no other part of Storekeeper, so ids, operations and outcomes reach it as plain strings.
package telemetry

import "time"

// Version is the version of this build, set by the linker:
//
//	go build -ldflags "-X storekeeper/internal/telemetry.Version=v1.2.3"
var Version = "dev"

// The outcomes an Operation may have.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	// OutcomeCancelled: the caller or a shutdown ended it before its time. Never reported as a failure.
	OutcomeCancelled = "cancelled"
)

// Operation is one thing done for a workspace, the way breadcrumbs and captured failures tell of it.
type Operation struct {
	// StoreID is the store it was done for; empty when it concerns none or many.
	StoreID string
	// Name is what was done: an activity or a workflow type, "webhook". From a fixed set, never with an id in it.
	Name string
	// Phase is the part of the main path it belongs to: "provision", "deletion", "reconcile"; empty when unknown.
	Phase string
	// Outcome is one of the Outcome constants.
	Outcome string
	// Duration is how long it took.
	Duration time.Duration
}
