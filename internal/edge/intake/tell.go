package intake

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/webhookauth"
)

var (
	unauthorized = &problem.Refusal{Kind: problem.KindUnauthorized, Message: "Unauthorized"}
	notJSON      = &problem.Refusal{
		Kind: problem.KindUnsupportedMediaType, Message: "Content-Type must be application/json, and the body not encoded",
	}
	deliveryConflict = &problem.Refusal{Kind: problem.KindDeliveryConflict, Message: "This webhook-id came before with another body"}
	unavailable      = &problem.Refusal{
		Kind: problem.KindUnavailable, Message: "The event could not be stored; send it again", RetryAfter: problem.RetryLater,
	}
	overloaded = &problem.Refusal{
		Kind: problem.KindOverloaded, Message: "Events wait too long to be worked off; send it again", RetryAfter: 10 * time.Second,
	}
	tooMany = &problem.Refusal{Kind: problem.KindOverloaded, Message: "Too many webhooks at once; send it again", RetryAfter: time.Second}
)

// Why events are refused although they are right.
var (
	errBacklog  = errors.New("events wait too long for a worker")
	errNotTaken = errors.New("temporal took no event a moment ago")
	errTooMany  = errors.New("too many webhooks at once")
)

const (
	operationWebhook = "webhook"
	// outcomeReplayed is that of a delivery that was answered before.
	outcomeReplayed = "replayed"
	// replayedHeader marks an answer that is given again.
	replayedHeader = "Idempotent-Replayed"
)

// refuseSender tells the sender nothing, and the log why.
func (in *Intake) refuseSender(d *delivery, err error) *problem.Refusal {
	in.metrics.WebhookAuth("none", reason(err))
	in.frequent.Info("sender refused", d.requestID, zap.String(telemetry.KeyReason, reason(err)))
	return unauthorized
}

// reason is a word of a fixed set.
func reason(err error) string {
	if refusal, ok := errors.AsType[webhookauth.Refusal](err); ok {
		return string(refusal)
	}
	return "other"
}

func (in *Intake) refuseForNow(ctx context.Context, d *delivery, retryAfter time.Duration) *problem.Refusal {
	in.noteRefusal(ctx, d.requestID, errTooMany)
	refused := *tooMany
	refused.RetryAfter = retryAfter
	return &refused
}

// noteRefusal remembers that an event had to be refused. It reports the first of an outage alone: the rest are in the metrics.
func (in *Intake) noteRefusal(ctx context.Context, requestID zap.Field, err error) {
	in.refusedLast.set()
	if in.refused.Add(1) > 1 {
		return
	}
	in.refusedSince.set()
	in.log.Error("webhooks are refused", requestID, zap.Error(err))
	in.sentry.Capture(ctx, err, telemetry.Operation{Name: operationWebhook, Phase: "outage", Kind: kindOfRefusal(err)})
	select {
	case in.outage <- struct{}{}:
	default: // Run has not yet got to the one before, and will do for both
	}
}

// kindOfRefusal is a word of a fixed set.
func kindOfRefusal(err error) string {
	switch {
	case errors.Is(err, errBacklog):
		return "backlog"
	case errors.Is(err, errTooMany):
		return "too many"
	}
	return "not taken"
}

func (a answer) write(w http.ResponseWriter) {
	if a.replayed {
		w.Header().Set(replayedHeader, "true")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(append(a.body, '\n')) // it fails only when the caller has gone
}

// tell counts each delivery once. An event that was taken also gets a log line and a breadcrumb; other outcomes get some log lines alone.
func (in *Intake) tell(d *delivery, refused *problem.Refusal) {
	took := time.Since(d.receivedAt)
	ev, outcome := d.event, d.answer.outcome
	if refused != nil {
		outcome = refused.Code
	}
	in.metrics.Webhook(string(ev.Type), outcome, took)
	if refused == unauthorized {
		return // refuseSender has said why
	}
	fields := []zap.Field{d.requestID, zap.String(telemetry.KeyOutcome, outcome), zap.Duration(telemetry.KeyDurationMs, took)}
	if d.sender.Key != "" {
		fields = append(fields, zap.String("sender", d.sender.Key))
	}
	if ev.Type != "" { // nothing else that came is fit for a log line
		fields = append(fields, zap.String(telemetry.KeyEvent, string(ev.Type)), zap.String(telemetry.KeyStoreID, ev.InstanceID),
			zap.String("userId", ev.UserID))
	}
	switch {
	case refused != nil:
		in.frequent.Info("webhook refused", append(fields, zap.String(telemetry.KeyReason, refused.Message))...)
		return
	case ev.Type == "":
		in.frequent.Info("webhook answered again", append(fields, zap.String(telemetry.KeyDeliveryID, d.id))...)
		return
	}
	in.log.Info("webhook answered", append(fields, zap.String(telemetry.KeyDeliveryID, ev.DeliveryID))...)

	op := telemetry.Operation{
		StoreID: ev.InstanceID, Name: operationWebhook, Phase: "provision", Outcome: telemetry.OutcomeSucceeded, Duration: took,
	}
	if ev.Type == contract.WorkspaceDeleted {
		op.Phase = "deletion"
	}
	in.sentry.Breadcrumb(op)
}
