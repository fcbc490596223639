package contract

import "time"

// Origin says who asks for something, by which way and why. It goes along to the audit trail of the store manager, and decides nothing. Each field is
// "" where it is not known. None is a secret. It is storemanager.Origin, field by field.
type Origin struct {
	Source Source `json:"source,omitempty"`
	// Actor is an operator's name, or the key that the sender of a webhook was known by. For SourceReconcile it is who asked for the run, or
	// approved its plan.
	Actor string `json:"actor,omitempty"`
	// Via is the interface that was used: one of the Via constants.
	Via    string `json:"via,omitempty"`
	Reason string `json:"reason,omitempty"`
	// DeliveryID is that of the event. RunID is that of the reconcile run.
	DeliveryID string `json:"deliveryId,omitempty"`
	RunID      string `json:"runId,omitempty"`
	// RequestID and TraceID are those of the HTTP request that began it.
	RequestID string `json:"requestId,omitempty"`
	TraceID   string `json:"traceId,omitempty"`
	// Batch binds what one request asked for of several stores.
	Batch string `json:"batch,omitempty"`
	// Plan is the hash of the plan that an operator has approved, if it took an approval.
	Plan string `json:"plan,omitempty"`
	// UserID is the workspace's owner, as an event names it.
	UserID string `json:"userId,omitempty"`
}

// What Origin.Via may be.
const (
	ViaAPI      = "api"
	ViaCLI      = "cli"
	ViaTemporal = "temporal" // a signal or a cancellation by Temporal's own tools
	ViaSchedule = "schedule"
	ViaEdge     = "edge" // an edge asks for a run by itself
)

// ListRef names a complete list of the Auth Worker.
type ListRef struct {
	// At is the start of its fetch.
	At time.Time `json:"at,omitzero"`
	// Hash is authclient.ListSummary.Hash. Entries counts the list's workspaces.
	Hash    string `json:"hash,omitempty"`
	Entries int    `json:"entries,omitempty"`
}

// Sighting is what a list says of a workspace: that it lacks it, or has it again.
type Sighting struct {
	// At is the moment as of which the list says it.
	At     time.Time
	List   ListRef
	Origin Origin
}
