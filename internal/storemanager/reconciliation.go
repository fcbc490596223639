package storemanager

import (
	"encoding/json"
	"time"
)

// ListMarks is what one complete authoritative list says: of stores, and for the guard. A list of more than MaxBatch stores comes in several.
type ListMarks struct {
	// ListAt is the start of the list's fetch.
	ListAt time.Time `json:"listAt"`
	// Unlisted stores were not in the list. Their UnlistedSince is set where it was nil, unless a deletion is pending. Their ListedSince is
	// cleared.
	Unlisted []string `json:"missing,omitempty"`
	// Listed stores were in the list. Their UnlistedSince is cleared. Their ListedSince is set where it was nil and a deletion is pending that
	// had begun when the list was asked for.
	Listed []string `json:"listed,omitempty"`
	// Guard is GuardKeepsBack or GuardCleared; "" leaves the guard as it is. GuardReason is why the guard keeps removals back: the first reason
	// stays.
	Guard       GuardVerdict `json:"guard,omitempty"`
	GuardReason string       `json:"guardReason,omitempty"`
	// Origin says which run it is.
	Origin Origin `json:"origin,omitzero"`
	// List is the list. Its At is ListAt.
	List ListRef `json:"list,omitzero"`
}

// ReconcileRun is the record of one finished reconcile run.
type ReconcileRun struct {
	RunID       string    `json:"runId"`
	StartedAt   time.Time `json:"startedAt"`
	CompletedAt time.Time `json:"completedAt"`
	// Error is "" for a run that succeeded; else one line that is safe to show.
	Error string `json:"error,omitempty"`
	// Report is the workflow's own report, kept as it is.
	Report json.RawMessage `json:"report,omitempty"`
	// ApprovedListAt is ListMarks.ListAt of the newest list whose removals were approved in this run; nil for none. It ends the guard's keeping
	// back (Overview.Guard), and acknowledges a loss that was found before that list. It is not kept with the run.
	ApprovedListAt *time.Time `json:"approvedListAt,omitempty"`
	// Actor is who approved the removals, and so acknowledges the loss; "" where it is not known. It is not kept with the run either, because
	// Report says it.
	Actor string `json:"actor,omitempty"`
	// Origin says who asked for the run. Summary is what came of it, in one line. Lists are the first and the last list of the run. Refused: the plan
	// that was approved was no longer right, so the run did nothing; it is no kept run then, and only the audit trail has it.
	Origin  Origin    `json:"origin,omitzero"`
	Summary string    `json:"summary,omitempty"`
	Lists   []ListRef `json:"lists,omitempty"`
	Refused bool      `json:"refused,omitempty"`
}

// GuardVerdict is what a list or a run means for the guard, which keeps removals back until an operator approves them.
type GuardVerdict string

// The verdicts. "" leaves the guard as it is.
const (
	// GuardKeepsBack: the list lacks more than may be removed. The guard keeps removals back from now on, whatever later lists lack.
	GuardKeepsBack GuardVerdict = "held"
	// GuardCleared: the list lacks nothing that is not protected.
	GuardCleared GuardVerdict = "cleared"
	// GuardApproved: the removals were approved.
	GuardApproved GuardVerdict = "approved"
)

// KeptBack says that the guard of reconciliation keeps removals back.
type KeptBack struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	// Lost: the registry is new, older or another one than it should be, as Reason says. No store is stopped, whoever asks, until an operator
	// acknowledges the loss or approves a plan that was made since. A list that lacks nothing does not end it.
	Lost bool `json:"lost,omitempty"`
}

// Acknowledgement is an operator's word that a loss is known, and that stores may be stopped again. Both texts are required.
type Acknowledgement struct {
	Reason string `json:"reason"`
	Actor  string `json:"actor"`
	// Origin says who asks. Without an actor and a reason it has those above.
	Origin Origin `json:"origin,omitzero"`
}

// KeptReconcileRuns is how many runs are kept.
const KeptReconcileRuns = 50

// Reconciliation is what is known of past reconcile runs.
type Reconciliation struct {
	// Runs, Successes and Failures count all runs that were ever recorded.
	Runs      int64 `json:"runs"`
	Successes int64 `json:"successes"`
	Failures  int64 `json:"failures"`
	// LastSuccessAt is nil before the first success.
	LastSuccessAt *time.Time `json:"lastSuccessAt,omitempty"`
	// LastError is the newest failed run among the kept ones; nil if there is none.
	LastError *ReconcileRun `json:"lastError,omitempty"`
	// Recent is the newest KeptReconcileRuns runs, newest first by CompletedAt.
	Recent []ReconcileRun `json:"recent"`
}
