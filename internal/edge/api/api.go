// Package api holds the JSON bodies of the edge's HTTP API, for the edge that writes them and for whoever reads them. openapi.json
// describes the same bodies. The package has no behaviour.
//
// A pointer is null where the doc comment says what null means; all times are in UTC unless the caller gave them.
package api

import (
	"time"

	"storekeeper/contract"
	"storekeeper/internal/storemanager"
)

// Index is the answer of GET /: what there is.
type Index struct {
	// Endpoints has what each endpoint does, by its method and path.
	Endpoints map[string]string `json:"endpoints"`
	Service   string            `json:"service"`
	// Token says in which headers the token is brought.
	Token   string `json:"token"`
	Version string `json:"version"`
}

// Status is the answer of GET /livez and GET /readyz.
type Status struct {
	// Status is "ok" of /livez, "ready" or "not ready" of /readyz.
	Status string `json:"status"`
	// Reasons say why it is not ready; left out when it is.
	Reasons []string `json:"reasons,omitempty"`
}

// WebhookAnswer is the answer to a webhook that was taken: 200 with its outcome, or 202 when the outcome is not known in time.
type WebhookAnswer struct {
	Status contract.Status `json:"status"`
	// ReceivedAt is when the webhook came, to the millisecond.
	ReceivedAt time.Time `json:"receivedAt"`
	// DeleteAt is when a deletion's grace period ends; left out of all else.
	DeleteAt *time.Time `json:"deleteAt,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	// Connection is that of contract.Result.
	Connection string `json:"connection,omitempty"`
}

// Problem is the body of every error answer: RFC 9457, with the "error" member that senders of webhooks know.
type Problem struct {
	// Type is a reference to a page at the same edge.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail is a sentence for the caller. Error is the same sentence.
	Detail    string `json:"detail"`
	Error     string `json:"error"`
	RequestID string `json:"requestId"`
	// RetryAfterMs is the header Retry-After, in milliseconds; left out when there is none.
	RetryAfterMs int64 `json:"retryAfterMs,omitempty"`
}

// PauseRequest is the body of PUT /admin/pause and PUT /stores/{id}/pause. The answer is a storemanager.Pause.
type PauseRequest struct {
	Reason string `json:"reason"`
	// Actor is not needed when the token has a name.
	Actor string `json:"actor,omitempty"`
	// ExpiresAt is when the pause ends by itself; null or left out: never.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// ReconcileAnswer is the answer of POST /admin/reconcile. It has what its Status is about, and no more.
type ReconcileAnswer struct {
	// Status is "completed", "failed" or "running": the run goes on, and the wait for it is over.
	Status     string                    `json:"status"`
	RunID      string                    `json:"runId"`
	DurationMs *int64                    `json:"durationMs,omitempty"`
	Result     *contract.ReconcileReport `json:"result,omitempty"`
	DriftCount *int                      `json:"driftCount,omitempty"`
	// Error says why the run failed.
	Error string `json:"error,omitempty"`
	// IncidentDashboardURL is null when none is set.
	IncidentDashboardURL *string   `json:"incidentDashboardUrl"`
	TriggeredAt          time.Time `json:"triggeredAt"`
}

// ReconcileRuns is the answer of GET /admin/reconcile/runs.
type ReconcileRuns struct {
	// Runs are newest first. A report is what POST /admin/reconcile calls "result".
	Runs []storemanager.ReconcileRun `json:"runs"`
}

// Acknowledgement is the body of POST /admin/acknowledge-loss.
type Acknowledgement struct {
	Reason string `json:"reason"`
	// Actor is not needed when the token has a name.
	Actor string `json:"actor,omitempty"`
}
