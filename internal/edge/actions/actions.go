// Package actions is what operators do with stores over the edge's API: one at a time, or several at once. What is done goes to the workflows and
// the store manager, which decide; the package says who asks. It also shows the audit trail.
package actions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// Orchestrator is what is asked of Temporal.
type Orchestrator interface {
	Apply(ctx context.Context, ev contract.Event, wait time.Duration) (contract.Result, error)
}

// StoreManager is what is asked of the store manager.
type StoreManager interface {
	Get(ctx context.Context, id string) (storemanager.Store, error)
	Pause(ctx context.Context, r storemanager.PauseRequest) (storemanager.Pause, error)
	Resume(ctx context.Context, r storemanager.ResumeRequest) error
	Audit(ctx context.Context, q storemanager.AuditQuery) (storemanager.AuditPage, error)
	NoteBatch(ctx context.Context, b storemanager.Batch) error
}

const (
	// outcomeWait is how long an action waits for its outcome before it is answered 202.
	outcomeWait = 10 * time.Second
	// managerTimeout bounds what one request may ask the store manager for.
	managerTimeout = 10 * time.Second
)

// Options of Actions. All are required.
type Options struct {
	Orchestrator Orchestrator
	StoreManager StoreManager
	Log          *zap.Logger
}

// Actions serves what operators do. Make it with New.
type Actions struct {
	orchestrator Orchestrator
	manager      StoreManager
	log          *zap.Logger
}

// New returns Actions that have asked nobody anything yet.
func New(o Options) *Actions {
	return &Actions{orchestrator: o.Orchestrator, manager: o.StoreManager, log: o.Log}
}

// The verbs.
const (
	VerbProvision      = "provision"
	VerbDelete         = "delete"
	VerbCancelDeletion = "cancel-deletion"
	VerbHold           = "hold"
	VerbRelease        = "release"
	VerbPause          = "pause"
	VerbResume         = "resume"
)

// Verbs are those that have a path of their own: POST /stores/{id}/{verb}. A pause has another one.
func Verbs() []string {
	return []string{VerbProvision, VerbDelete, VerbCancelDeletion, VerbHold, VerbRelease}
}

// events are those of the verbs that are events.
var events = map[string]contract.EventType{
	VerbProvision: contract.WorkspaceCreated, VerbDelete: contract.WorkspaceDeleted, VerbCancelDeletion: contract.StoreHold, VerbHold: contract.StoreHold,
	VerbRelease: contract.StoreRelease,
}

// order is what an operator asks for, checked.
type order struct {
	verb      string
	origin    contract.Origin
	expiresAt *time.Time
	grace     *time.Duration
}

// Act serves POST /stores/{id}/{verb}.
func (a *Actions) Act(verb string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := problem.StoreID(w, r)
		if !ok {
			return
		}
		var body api.ActionRequest
		if refused := readBody(w, r, &body); refused != nil {
			refused.Write(w)
			return
		}
		o, refused := orderOf(w, r, verb, body)
		if refused != nil {
			refused.Write(w)
			return
		}
		// What was begun becomes durable even if the caller hangs up.
		answer, refused := a.carryOut(context.WithoutCancel(r.Context()), o, id)
		if refused != nil {
			a.tell(httpserver.LogRequestID(w), o, id, "", refused)
			refused.Write(w)
			return
		}
		a.tell(httpserver.LogRequestID(w), o, id, answer.Status, nil)
		status := http.StatusOK
		if answer.Status == contract.StatusAccepted {
			status = http.StatusAccepted
		}
		httpserver.WriteJSON(w, status, answer)
	}
}

// readBody decodes the body, which may be left out. Unknown members are refused: a misspelt one would be left undone.
func readBody(w http.ResponseWriter, r *http.Request, into any) *problem.Refusal {
	body, refused := problem.ReadBody(w, r)
	if refused != nil || len(bytes.TrimSpace(body)) == 0 {
		return refused
	}
	if err := problem.Decode(body, into); err != nil {
		return problem.Invalid("The body must be one JSON object with the members that /docs names, and no others")
	}
	return nil
}

// orderOf checks what is asked for.
func orderOf(w http.ResponseWriter, r *http.Request, verb string, q api.ActionRequest) (o order, refused *problem.Refusal) {
	o = order{verb: verb, origin: asker.Of(w, r, q.Actor, q.Reason), expiresAt: q.ExpiresAt}
	holds := verb == VerbHold || verb == VerbCancelDeletion
	switch {
	case o.origin.Actor == "":
		return o, problem.Invalid("actor is required: the token has no name")
	case o.origin.Reason == "" && verb != VerbProvision && verb != VerbRelease:
		return o, problem.Invalid("reason is required: it is kept in the audit trail")
	case q.ExpiresAt != nil && !holds && verb != VerbPause:
		return o, problem.Invalid("expiresAt does not belong to " + verb)
	case q.ExpiresAt != nil && !q.ExpiresAt.After(time.Now()):
		return o, problem.Invalid("expiresAt is over already")
	case q.GracePeriod != "" && verb != VerbDelete:
		return o, problem.Invalid("gracePeriod does not belong to " + verb)
	case q.GracePeriod != "":
		grace, err := time.ParseDuration(q.GracePeriod)
		if err != nil || grace < 0 {
			return o, problem.Invalid("gracePeriod must be a duration such as 24h or 30m, not negative")
		}
		o.grace = &grace
	}
	if holds && o.expiresAt == nil {
		at := time.Now().UTC().Add(contract.DefaultHold)
		o.expiresAt = &at
	}
	return o, nil
}

// carryOut does for one store what is asked for.
func (a *Actions) carryOut(ctx context.Context, o order, id string) (api.ActionAnswer, *problem.Refusal) {
	switch o.verb {
	case VerbPause, VerbResume:
		return a.changePause(ctx, o, id)
	case VerbCancelDeletion:
		if refused := a.requirePending(ctx, id); refused != nil {
			return api.ActionAnswer{}, refused
		}
	}
	ev := contract.Event{
		DeliveryID: orchestrator.NewDeliveryID(), Type: events[o.verb], InstanceID: id, Timestamp: time.Now().UTC(), Source: contract.SourceOperator,
		GracePeriod: o.grace, Origin: o.origin,
	}
	if ev.Type == contract.StoreHold {
		ev.Hold = &contract.Cancellation{Reason: o.origin.Reason, Actor: o.origin.Actor, ExpiresAt: o.expiresAt}
	}
	result, err := a.orchestrator.Apply(ctx, ev, outcomeWait)
	switch {
	case errors.Is(err, orchestrator.ErrInvalid):
		return api.ActionAnswer{}, problem.Invalid("The event was refused")
	case err != nil:
		a.log.Error("action not taken", zap.String(telemetry.KeyStoreID, id), zap.String("verb", o.verb), zap.Error(err))
		return api.ActionAnswer{}, &problem.Refusal{Kind: problem.KindUnavailable, Message: "Temporal can't be reached", RetryAfter: problem.RetryLater}
	}
	return api.ActionAnswer{InstanceID: id, DeliveryID: ev.DeliveryID, Result: result}, nil
}

// requirePending refuses to cancel a deletion that is not pending: it would leave a hold that nobody asked for.
func (a *Actions) requirePending(ctx context.Context, id string) *problem.Refusal {
	ctx, cancel := context.WithTimeout(ctx, managerTimeout)
	defer cancel()
	store, err := a.manager.Get(ctx, id)
	switch {
	case errors.Is(err, storemanager.ErrNotFound):
		return &problem.Refusal{Kind: problem.KindNotFound, Message: "No such store is monitored"}
	case err != nil:
		return a.managerAway(err)
	case store.Deletion == nil:
		return &problem.Refusal{Kind: problem.KindNotFound, Message: "No deletion of this store is pending"}
	}
	return nil
}

func (a *Actions) changePause(ctx context.Context, o order, id string) (api.ActionAnswer, *problem.Refusal) {
	ctx, cancel := context.WithTimeout(ctx, managerTimeout)
	defer cancel()
	var err error
	answer := api.ActionAnswer{InstanceID: id}
	if o.verb == VerbPause {
		answer.Status = "paused"
		_, err = a.manager.Pause(ctx, storemanager.PauseRequest{
			Pause:  storemanager.Pause{StoreID: id, Reason: o.origin.Reason, Actor: o.origin.Actor, ExpiresAt: o.expiresAt},
			Origin: asker.Manager(o.origin),
		})
	} else {
		answer.Status = "resumed"
		err = a.manager.Resume(ctx, storemanager.ResumeRequest{StoreID: id, Origin: asker.Manager(o.origin)})
	}
	if err != nil {
		return api.ActionAnswer{}, a.managerAway(err)
	}
	return answer, nil
}

// managerAway refuses when the store manager could not be asked.
func (a *Actions) managerAway(err error) *problem.Refusal {
	a.log.Error("store manager not asked", zap.Error(err))
	return &problem.Refusal{Kind: problem.KindUnavailable, Message: "The store manager can't be asked", RetryAfter: problem.RetryLater}
}

// tell logs an action: who did what to which store, and what came of it.
func (a *Actions) tell(requestID zap.Field, o order, id string, status contract.Status, refused *problem.Refusal) {
	outcome := string(status)
	if refused != nil {
		outcome = fmt.Sprintf("refused: %s", refused.Message)
	}
	a.log.Info("operator's action", requestID, zap.String("verb", o.verb), zap.String(telemetry.KeyStoreID, id),
		zap.String(telemetry.KeyActor, o.origin.Actor), zap.String(telemetry.KeyReason, o.origin.Reason), zap.String(telemetry.KeyOutcome, outcome))
}
