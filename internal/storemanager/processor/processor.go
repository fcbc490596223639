// Package processor takes the events of stores: it writes of them in the log (Log), or posts them to a URL (Sink). It knows of neither the registry nor
// the monitors.
package processor

import (
	"context"
	"time"

	"storekeeper/internal/livestore"
)

// Processor takes the events of all stores. Monitors call it: for one store one call at a time, in the order of the events, and for different stores at the
// same time.
//
// Each event comes at least once. It comes again after a call that failed, and may come again after a crash, because the cursor is written later than the
// event is taken.
type Processor interface {
	// Process returns nil when the batch is taken for good. After an error the same batch is offered again, with backoff, and not before
	// RetryAfterError.At. The texts of errors are shown to operators, so they may hold no secret and no event. When ctx ends, the store is no longer
	// monitored here, and Process must return soon.
	Process(ctx context.Context, b Batch) error
	// Stop is called when the store is no longer monitored here, after the end of its last Process.
	Stop(storeID string)
}

// Batch is some events of one store, at least one, that follow each other.
type Batch struct {
	StoreID string
	// BackendID is the incarnation of the store that the events belong to. If it is another one than before, the store was reset, and its events begin
	// anew at 1.
	BackendID string
	Events    []livestore.Event
}

// RetryAfterError is an error of Processor.Process that says when to try again.
type RetryAfterError struct {
	// At is the earliest moment for it, by the processor's clock.
	At time.Time
	// Err is what went wrong; never nil.
	Err error
}

// Error implements error.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RetryAfterError) Unwrap() error { return e.Err }
