package storemanager

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Source says what kind of asker an Origin is.
type Source string

const (
	SourceWebhook   Source = "webhook"
	SourceOperator  Source = "operator"
	SourceReconcile Source = "reconcile"
	// SourceSystem is Storekeeper itself: what it does at a start, and to make up for what was lost.
	SourceSystem Source = "system"
)

// Origin says who asks for something, by which way and why. It goes into the audit trail, and decides nothing. Each field is "" where it is not
// known; callers of an older version send none of them. None is a secret.
type Origin struct {
	Source Source `json:"source,omitempty"`
	// Actor is an operator's name, or for SourceWebhook the key that the sender was known by. For SourceReconcile it is who asked for the run,
	// or approved its plan.
	Actor string `json:"actor,omitempty"`
	// Via is the interface that was used: api, cli, temporal, schedule, edge or settings.
	Via string `json:"via,omitempty"`
	// Reason is the operator's.
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

// texts are the fields that callers choose.
func (o *Origin) texts() []*string {
	return []*string{
		(*string)(&o.Source), &o.Actor, &o.Via, &o.Reason, &o.DeliveryID, &o.RunID, &o.RequestID, &o.TraceID, &o.Batch, &o.Plan, &o.UserID,
	}
}

// Cut is the origin as it is kept: each text is valid UTF-8, and has MaxText bytes at the most.
func (o Origin) Cut() Origin {
	for _, text := range o.texts() {
		*text = Cut(strings.ToValidUTF8(*text, "\ufffd"))
	}
	return o
}

// Cut bounds a text to MaxText bytes, and marks what was cut.
func Cut(s string) string {
	if len(s) <= MaxText {
		return s
	}
	const mark = "…"
	return strings.ToValidUTF8(s[:MaxText-len(mark)], "") + mark
}

// ListRef names a complete list of the Auth Worker. It is zero where no list was asked, or an older version did not say which.
type ListRef struct {
	// At is the start of its fetch.
	At time.Time `json:"at,omitzero"`
	// Hash identifies which ids it has, in whatever order: the sum of their sha256, in hexadecimal.
	Hash string `json:"hash,omitempty"`
	// Entries is how many workspaces it has; 0 where that is not known.
	Entries int `json:"entries,omitempty"`
}

// AsOf is the list as it is kept, with this moment.
func (l ListRef) AsOf(at time.Time) ListRef {
	l.At, l.Hash = Precise(at), Cut(strings.ToValidUTF8(l.Hash, "\ufffd"))
	return l
}

// Cause is why a deletion is pending: an event, an operator, or two consecutive lists without the workspace.
type Cause struct {
	Origin
	// FirstList and SecondList are zero unless lists asked for the deletion.
	FirstList  ListRef `json:"firstList,omitzero"`
	SecondList ListRef `json:"secondList,omitzero"`
}

// AuditKind says what was decided.
type AuditKind string

// The kinds. Outcomes are those of the answers; where there is only one, it is done.
const (
	AuditEnsure         AuditKind = "ensure"
	AuditDeletion       AuditKind = "deletion"
	AuditCancelDeletion AuditKind = "cancel_deletion"
	AuditStop           AuditKind = "stop"
	AuditHold           AuditKind = "hold"
	AuditRelease        AuditKind = "release"
	AuditPause          AuditKind = "pause"
	AuditResume         AuditKind = "resume"
	// AuditPin and AuditUnpin: STORE_IDS has the store, or no longer has it.
	AuditPin   AuditKind = "pin"
	AuditUnpin AuditKind = "unpin"
	// AuditList: a list lacks stores that earlier lists had. Evidence has the list, and the first of the stores.
	AuditList AuditKind = "list"
	// AuditGuard: the guard begins to keep removals back (keeps_back), or no longer does (cleared).
	AuditGuard AuditKind = "guard"
	// AuditApproval: an operator has approved the removals of a plan (approved), or approved one that was no longer right (refused).
	AuditApproval AuditKind = "approval"
	// AuditRun: a reconcile run has ended (succeeded, failed).
	AuditRun AuditKind = "run"
	// AuditLoss: the registry was found to have lost something. AuditAcknowledge: an operator knows.
	AuditLoss        AuditKind = "loss"
	AuditAcknowledge AuditKind = "acknowledge"
	// AuditBatch: an operator asked for the same of several stores. Their own entries have its Batch.
	AuditBatch AuditKind = "batch"
	// AuditSetting: a process began with another value of a setting than the one before it.
	AuditSetting AuditKind = "setting"
)

// AuditKinds are all of them.
func AuditKinds() []AuditKind {
	return []AuditKind{
		AuditEnsure, AuditDeletion, AuditCancelDeletion, AuditStop, AuditHold, AuditRelease, AuditPause, AuditResume, AuditPin, AuditUnpin,
		AuditList, AuditGuard, AuditApproval, AuditRun, AuditLoss, AuditAcknowledge, AuditBatch, AuditSetting,
	}
}

// AuditEntry is one decision. Entries are never changed. They are kept for AUDIT_RETENTION, also when the store is forgotten.
//
// Of decisions that repeat the newest one of their store, some are left out: the retry of a call, and for an hour what nobody but Storekeeper
// itself asks for again.
type AuditEntry struct {
	// Seq is the place in the order of decisions. There may be gaps.
	Seq int64 `json:"seq"`
	// At is when the store manager decided, by its clock.
	At   time.Time `json:"at"`
	Kind AuditKind `json:"kind"`
	// StoreID is "" for what concerns all stores.
	StoreID string `json:"storeId,omitempty"`
	Outcome string `json:"outcome"`
	// Detail is a sentence for people; "" where the rest says it all.
	Detail string `json:"detail,omitempty"`
	Origin
	// Evidence is nil where the rest says it all.
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Evidence is what a decision was based on. Fields that don't belong to its kind are empty.
type Evidence struct {
	// Deletion is the deletion that became pending, or that was carried out.
	Deletion *Deletion `json:"deletion,omitempty"`
	// Recheck is the list that the store was stopped on. DecidedAt is when that was decided, if another server had to be told before the entry could be
	// kept; zero: at the entry's At.
	Recheck   ListRef   `json:"recheck,omitzero"`
	DecidedAt time.Time `json:"decidedAt,omitzero"`
	// Hold is the one that was put on.
	Hold *Hold `json:"hold,omitempty"`
	// Lists are those of a run, the first and the last, or the one that an AuditList tells of.
	Lists []ListRef `json:"lists,omitempty"`
	// StoreIDs are the stores of an AuditBatch, and up to MaxNamed of an AuditList.
	StoreIDs []string `json:"storeIds,omitempty"`
}

// MaxNamed is how many stores an AuditList names.
const MaxNamed = 20

// AuditQuery asks for entries. All that is set must fit.
type AuditQuery struct {
	StoreID string
	Kinds   []AuditKind
	Source  Source
	Actor   string
	RunID   string
	Batch   string
	Outcome string
	UserID  string
	// Since and Until bound At. Since is included, Until is not; zero means no bound.
	Since, Until time.Time
	// OldestFirst turns the order around, which is newest first.
	OldestFirst bool
	// Cursor is AuditPage.NextCursor of the page before; 0 begins.
	Cursor int64
	// Limit is from 1 to MaxBatch; 0 means DefaultLimit.
	Limit int
}

// Validate is as that of EnsureRequest.
func (q AuditQuery) Validate() error {
	if q.StoreID != "" {
		if err := CheckID(q.StoreID); err != nil {
			return err
		}
	}
	if q.Limit < 0 || q.Limit > MaxBatch {
		return fmt.Errorf("%w: limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxBatch)
	}
	if q.Cursor < 0 {
		return fmt.Errorf("%w: %d is no cursor", ErrInvalid, q.Cursor)
	}
	for _, kind := range q.Kinds {
		if !slices.Contains(AuditKinds(), kind) {
			return fmt.Errorf("%w: %.40q is no kind of entry, these are: %s", ErrInvalid, kind, Join(AuditKinds()))
		}
	}
	return nil
}

// Join is the words, with commas between them.
func Join[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, ", ")
}

// AuditPage is a part of the audit trail.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	// NextCursor is 0 on the last page.
	NextCursor int64 `json:"nextCursor,omitempty"`
}

// Batch is what one request asks for of several stores.
type Batch struct {
	// Verb is what is asked for, such as hold.
	Verb string `json:"verb"`
	// Origin says who asks; its Batch is the id that binds them. Both Actor and Batch are required.
	Origin Origin `json:"origin"`
	// StoreIDs are at least one store and MaxBatch at the most.
	StoreIDs []string `json:"storeIds"`
}

// Validate is as that of EnsureRequest.
func (b Batch) Validate() error {
	if n := len(b.StoreIDs); n == 0 || n > MaxBatch {
		return fmt.Errorf("%w: %d stores in one batch, 1 to %d are taken", ErrInvalid, n, MaxBatch)
	}
	for _, id := range b.StoreIDs {
		if err := CheckID(id); err != nil {
			return err
		}
	}
	return firstOf(checkText("verb", b.Verb), checkText("actor", b.Origin.Actor), checkText("batch", b.Origin.Batch))
}

// Settings are those that a process has begun with.
type Settings struct {
	// Process names it, and stays the same from one start to the next: its role and host.
	Process string `json:"process"`
	Version string `json:"version"`
	// Values are by the name of the variable. A secret's is "set" or "unset".
	Values map[string]string `json:"values,omitempty"`
}

// maxSettings bounds the number of Settings.Values.
const maxSettings = 200

// Validate is as that of EnsureRequest.
func (s Settings) Validate() error {
	if len(s.Values) > maxSettings {
		return fmt.Errorf("%w: %d settings, at most %d are taken", ErrInvalid, len(s.Values), maxSettings)
	}
	for name, value := range s.Values {
		if err := firstOf(checkText("the name of a setting", name), checkLength(name, value)); err != nil {
			return err
		}
	}
	return firstOf(checkText("process", s.Process), checkLength("version", s.Version))
}
