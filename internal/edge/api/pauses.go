package api

import "time"

// PauseKind says what a pause of reconciliation was made with. Each kind keeps reconciliation from all stores, or from one.
type PauseKind string

const (
	// PauseOrder was made with starter pause, or PUT /admin/pause or /stores/{id}/pause: no run changes anything.
	PauseOrder PauseKind = "pause"
	// PauseSchedule was made on Temporal's schedule, by its Web UI or its command line: no run begins by itself.
	PauseSchedule PauseKind = "schedule"
	// PauseSetting is WORKSPACE_RECONCILE_ENABLED=false: no run begins by itself, and POST /admin/reconcile is refused. It ends with the setting.
	PauseSetting PauseKind = "setting"
)

// PauseState is one pause that is in force.
type PauseState struct {
	Kind PauseKind `json:"kind"`
	// StoreID is left out of a pause of all stores.
	StoreID string `json:"storeId,omitempty"`
	// Actor is left out where it is not known.
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason"`
	// Since is left out where it is not known.
	Since *time.Time `json:"since,omitempty"`
	// ExpiresAt is left out of a pause that does not end by itself.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
}

// PausesAnswer is the answer of GET /admin/pause: whatever keeps reconciliation from stores.
type PausesAnswer struct {
	// Paused: reconciliation is kept from all stores.
	Paused bool `json:"paused"`
	// Pauses are those of all stores first, then those of single ones by id.
	Pauses []PauseState `json:"pauses"`
}

// ResumeAnswer is the answer of DELETE /admin/pause and /stores/{id}/pause.
type ResumeAnswer struct {
	// Ended are the pauses that it ended; none if there were none.
	Ended []PauseState `json:"ended"`
	// Remaining are those that keep reconciliation from the same stores all the same.
	Remaining []PauseState `json:"remaining"`
}
