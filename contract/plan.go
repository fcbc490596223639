package contract

import "time"

// Mode says what a reconcile run may do.
type Mode string

const (
	// ModeFull adds and removes.
	ModeFull Mode = "full"
	// ModeCreateOnly adds, and only counts what it would remove.
	ModeCreateOnly Mode = "create-only"
	// ModeObserve repairs nothing. It counts, and takes note of first sightings.
	ModeObserve Mode = "observe"
)

// CompareInput starts a round of a run.
type CompareInput struct {
	reconcilePhase
	// RunID is that of the run; "" for a plan alone.
	RunID string `json:"runId,omitempty"`
	// RunStartedAt: a sighting since then does not confirm itself.
	RunStartedAt time.Time `json:"runStartedAt"`
	// ApprovedPlan is the Hash or the RemovalHash of the plan that may pass the guard, in a later round the RestHash of the round
	// before; "" approves none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// After is where earlier rounds have got to; the zero Cursor in the first round. Nothing up to there is planned again: what could
	// not be done is left to the next run.
	After Cursor `json:"after,omitzero"`
	// Confirm: a second sighting makes an orphan. Without it all of them stay first sightings.
	Confirm bool `json:"confirm"`
	// Mode "" is the worker's setting.
	Mode Mode `json:"mode,omitempty"`
	// ReadOnly asks for Plan.Items, and for no first sightings to be kept.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// Cursor says how far the rounds of a run have got: for each list of a plan, the last id that was in it. The lists get full at
// different ids.
type Cursor struct {
	Missing string `json:"missing,omitempty"`
	Orphans string `json:"orphans,omitempty"`
}

const (
	// MaxPlanned bounds the ids of each kind in a plan. If they are UUIDs, all three together stay under 400 KiB of history.
	MaxPlanned = 3000
	// MaxPlanItems bounds Plan.Items of each action.
	MaxPlanItems = 500
)

// Plan is what one comparison of both sides found. Its lists are bounded; the counts are not.
type Plan struct {
	// ListAt is the start of the fetch of the authoritative list. ListHash is its ListRef.Hash.
	ListAt             time.Time `json:"listAt"`
	ListHash           string    `json:"listHash,omitempty"`
	AuthoritativeCount int       `json:"authoritativeCount"`
	MonitoredCount     int       `json:"monitoredCount"`
	// MissingCount counts stores that are listed and not monitored. Missing are those of them that this round may ensure, and those to adopt.
	MissingCount int      `json:"missingCount"`
	Missing      []string `json:"missing,omitempty"`
	// OrphanCount counts stores that are monitored, unprotected, and in neither of two consecutive lists. Orphans are those of them that this
	// round may hand over.
	OrphanCount      int      `json:"orphanCount"`
	Orphans          []string `json:"orphans,omitempty"`
	FirstSightings   int      `json:"firstSightings"`
	Skipped          Skipped  `json:"skipped"`
	QuarantinedCount int      `json:"quarantinedCount"`
	Quarantined      []string `json:"quarantined,omitempty"`
	// SetAsideCount and SetAside (at most 20 of them) are listed ids that differ from the id of a monitored store in case alone.
	// Neither of the two is added or removed.
	SetAsideCount int      `json:"setAsideCount,omitempty"`
	SetAside      []string `json:"setAside,omitempty"`
	// ListedAgain are stores whose deletion is pending, and which stand in two consecutive lists that were asked for since. The list is
	// bounded like Missing; the rest is left to the next run.
	ListedAgainCount int      `json:"listedAgainCount,omitempty"`
	ListedAgain      []string `json:"listedAgain,omitempty"`
	// PendingCount is how many deletions are pending in the store manager. The run looks for their lifecycles.
	PendingCount int `json:"pendingCount,omitempty"`
	// RegistryLost: the store manager may lack pending deletions that lifecycles wait for.
	RegistryLost bool `json:"registryLost,omitempty"`
	// Next is CompareInput.After of another round; the zero Cursor when the lists hold all that is to be done.
	Next Cursor `json:"next,omitzero"`
	// AdoptCount is how many stores get their first event; Missing names them too.
	AdoptCount int  `json:"adoptCount,omitempty"`
	Mode       Mode `json:"mode,omitempty"`
	// Hash identifies all that the plan does, RemovalHash what is left of it once all has been added; "" when that is nothing.
	Hash        string `json:"hash,omitempty"`
	RemovalHash string `json:"removalHash,omitempty"`
	// RestHash identifies the removals that did not fit into Orphans.
	RestHash string `json:"restHash,omitempty"`
	// Guard says why the guard lets nothing be removed; "" when the plan passes.
	Guard string `json:"guard,omitempty"`
	// KeptBack: the list lacks more than the limits allow, or an earlier one did and this one still lacks some. Removals are kept back
	// until they are approved, or a list lacks nothing.
	KeptBack bool `json:"held,omitempty"`
	// Foreign: the list has hardly any of the stores that it should have. Nothing is added either before an approval.
	Foreign bool `json:"foreign,omitempty"`
	// Approve is the hash that an approval must name once the guard has tripped; "" when no approval helps, or none is needed.
	Approve string `json:"approve,omitempty"`
	// Approvable: an approval of the plan releases what Guard keeps back. No approval makes an empty list credible, for example, and
	// first sightings are not to be removed yet.
	Approvable bool `json:"approvable,omitempty"`
	// Released: the plan passes because it was approved, and would not have passed without.
	Released bool `json:"released,omitempty"`
	// LacksNothing: every store that the list lacks is protected, and none is on its way out. It ends what the guard has kept back.
	LacksNothing bool `json:"lacksNothing,omitempty"`
	// Paused says who has paused all of reconciliation, and why; "" when nobody has. A paused plan observes.
	Paused string `json:"paused,omitempty"`
	// FetchMs is how long the list took to fetch, CompareMs how long the comparison took, in milliseconds.
	FetchMs   int64 `json:"fetchMs,omitempty"`
	CompareMs int64 `json:"compareMs,omitempty"`
	// Items are lines for people, if CompareInput.ReadOnly asked for them: up to MaxPlanItems of each action, in the order of Actions, each
	// in the order of ids.
	Items []PlanItem `json:"items,omitempty"`
}

// Skipped counts, by reason, stores that the authoritative list lacks and that are no orphans. Paused also counts listed stores that are not
// monitored.
type Skipped struct {
	Held    int `json:"held"`
	Pinned  int `json:"pinned"`
	Pending int `json:"pending"`
	// TooYoung stores came after the list had been asked for.
	TooYoung int `json:"tooYoung"`
	Paused   int `json:"paused,omitempty"`
}

// PlanItem is one line of a plan, for people.
type PlanItem struct {
	StoreID string `json:"storeId"`
	Action  Action `json:"action"`
	Reason  Reason `json:"reason"`
}

// Action is what a plan does with one store.
type Action string

const (
	// ActionCreate: the store is listed and not monitored.
	ActionCreate Action = "create"
	// ActionAdopt: the store is listed and monitored, and no event or list ever told of it. A Node server had it before us.
	ActionAdopt Action = "adopt"
	// ActionDelete: the store is an orphan. Its lifecycle gives it the grace period and the re-check.
	ActionDelete Action = "delete"
	// ActionKeep: the store's deletion is pending, and two consecutive lists that were asked for since have the workspace. Its lifecycle
	// ends the deletion.
	ActionKeep Action = "keep"
	// ActionSkip: the sides differ, and the store is left alone, for the reason given.
	ActionSkip Action = "skip"
)

// Actions are all of them, in the order in which people should see them: what changes most comes first.
func Actions() []Action {
	return []Action{ActionDelete, ActionCreate, ActionAdopt, ActionKeep, ActionSkip}
}

// Reason says why a plan has an Action for a store.
type Reason string

// The reasons. All but the first four are reasons to skip.
const (
	ReasonMissing       Reason = "listed, not monitored"
	ReasonUnknown       Reason = "listed, monitored by someone before us"
	ReasonOrphan        Reason = "in neither of two consecutive lists"
	ReasonListedAgain   Reason = "pending deletion, in two consecutive lists since"
	ReasonInvalidID     Reason = "invalid id"
	ReasonCase          Reason = "differs from a monitored store's id in case alone"
	ReasonPaused        Reason = "paused"
	ReasonTooYoung      Reason = "too young"
	ReasonHeld          Reason = "held"
	ReasonPinned        Reason = "pinned"
	ReasonPending       Reason = "pending"
	ReasonFirstSighting Reason = "first sighting"
)
