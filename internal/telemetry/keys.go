package telemetry

import "storekeeper/internal/tracing"

// The keys of log fields. A thing has the same key in log lines, breadcrumbs and Sentry tags, so that one search finds all of it. Log
// errors with zap.Error, whose key is KeyError. Log durations with zap.Duration and KeyDurationMs: NewLogger writes durations in whole
// milliseconds.
const (
	KeyActor      = "actor"
	KeyAttempt    = "attempt"
	KeyDeliveryID = "deliveryId"
	KeyDurationMs = "durationMs"
	KeyError      = "error"
	KeyEvent      = "event"
	KeyOperation  = "operation"
	KeyOutcome    = "outcome"
	KeyPhase      = "phase"
	KeyPlanHash   = "planHash"
	KeyReason     = "reason"
	KeyRequestID  = tracing.KeyRequestID
	KeyRunID      = "runId"
	KeyStoreID    = "storeId"
	KeyTraceID    = tracing.KeyTraceID
	KeyTrigger    = "trigger"
	KeyWorkflowID = "workflowId"
)
