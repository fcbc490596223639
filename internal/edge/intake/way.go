package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/tracing"
	"storekeeper/internal/webhookauth"
)

// delivery is a webhook as far as it has come on its way.
type delivery struct {
	w          http.ResponseWriter
	r          *http.Request
	receivedAt time.Time
	// requestID is the request's id, and its trace from the moment on that the sender is known.
	requestID zap.Field
	// ctx is that of the steps. It outlives the request.
	ctx context.Context //nolint:containedctx // a step adds the trace to it
	// ended ends the span of the request with the status of the answer.
	ended func(status int)

	claim  webhookauth.Claim
	sender webhookauth.Sender
	// id is the sender's; "" when it gave none. A delivery without one can't be told from others, and is not remembered.
	id   string
	body []byte
	// hash is that of the body, in hexadecimal. Two deliveries of one id and one hash are the same.
	hash   string
	event  contract.Event
	answer answer

	// places are what it gives back at the end of its way, the last one first.
	places []func()
}

// answer is what a webhook is answered with when it is taken.
type answer struct {
	status int
	body   json.RawMessage
	// outcome is for metrics and logs.
	outcome string
	// replayed: the delivery was answered before, and this is that answer.
	replayed bool
}

// step is one step of an event's way. It refuses the event, or returns nil.
type step func(context.Context, *delivery) *problem.Refusal

// way is an event's way in: from what is cheap to find out to what is not, so that a stranger costs the headers or, with the headers of a
// signature, one body of at most 64 KiB. It ends with the first step that refuses, or when recall finds the answer.
func (in *Intake) way() []step {
	return []step{
		in.checkHeaders,
		in.readBody,
		in.verifySender,
		in.readID,
		in.takePlace,
		in.lookAtLane,
		in.recall,
		in.limitSender,
		in.readEvent,
		in.apply,
		in.remember,
	}
}

// Webhook answers 2xx only once the event is durable: 200 with its outcome, or 202 when that is not known in time.
func (in *Intake) Webhook(w http.ResponseWriter, r *http.Request) {
	d := &delivery{
		w: w, r: r, requestID: httpserver.LogRequestID(w), receivedAt: time.Now(), ended: func(int) {},
		// The event becomes durable even if the sender hangs up: it would send it again, but not for ever.
		ctx: context.WithoutCancel(r.Context()),
	}
	refused := in.take(d)
	in.tell(d, refused)
	if refused != nil {
		refused.Write(w)
		d.ended(refused.Status)
		return
	}
	d.answer.write(w)
	d.ended(d.answer.status)
}

func (in *Intake) take(d *delivery) *problem.Refusal {
	defer d.leave()
	for _, next := range in.steps {
		if refused := next(d.ctx, d); refused != nil || d.answer.replayed {
			return refused
		}
	}
	return nil
}

// leave gives back the places that the delivery has taken.
func (d *delivery) leave() {
	for _, giveBack := range slices.Backward(d.places) {
		giveBack()
	}
}

// checkHeaders lets pass those whose headers can be right, and who send JSON.
func (in *Intake) checkHeaders(_ context.Context, d *delivery) *problem.Refusal {
	var err error
	if d.claim, err = in.keyring().Check(d.r.Header, d.receivedAt); err != nil {
		return in.refuseSender(d, err)
	}
	if !isJSON(d.r.Header) {
		return notJSON
	}
	return nil
}

// isJSON looks at the type and at no parameter: RFC 8259 has none, and its text is UTF-8 whatever a charset says (see checkJSON).
func isJSON(header http.Header) bool {
	types := header.Values("Content-Type")
	if len(types) != 1 || len(header.Values("Content-Encoding")) > 1 {
		return false
	}
	media, _, _ := strings.Cut(types[0], ";")
	encoding := header.Get("Content-Encoding")
	return strings.EqualFold(strings.TrimSpace(media), "application/json") && (encoding == "" || strings.EqualFold(encoding, "identity"))
}

// readBody reads not too many bodies at a time. Those whose headers prove the sender have room of their own, which no stranger can take.
func (in *Intake) readBody(ctx context.Context, d *delivery) *problem.Refusal {
	room := in.unprovenBodies
	if d.claim.Trusted() {
		httpserver.Trust(d.r.Context())
		room = in.bodies
	}
	if !room.enter() {
		if d.claim.Trusted() { // a stranger's refusal needs no repair
			in.noteRefusal(ctx, d.requestID, errTooMany)
		}
		return tooMany
	}
	defer room.leave()
	var refused *problem.Refusal
	d.body, refused = problem.ReadBody(d.w, d.r)
	return refused
}

// verifySender finds out who the sender is: from here on it is no stranger.
func (in *Intake) verifySender(_ context.Context, d *delivery) *problem.Refusal {
	var err error
	if d.sender, err = d.claim.Verify(d.body); err != nil {
		return in.refuseSender(d, err)
	}
	httpserver.Trust(d.r.Context())
	d.trace()
	in.metrics.WebhookAuth(string(d.sender.Method), telemetry.OutcomeSucceeded)
	if d.sender.SignatureErr != nil {
		// Whoever moves to signatures wants to know before secrets are no longer taken.
		why := reason(d.sender.SignatureErr)
		in.metrics.WebhookAuth(string(webhookauth.MethodSignature), why)
		in.frequent.Warn("webhook signature wrong beside a right secret", d.requestID, zap.String(telemetry.KeyReason, why))
	}
	return nil
}

// trace begins the span of the request, in the trace that a known sender has named.
func (d *delivery) trace() {
	d.ctx, d.ended = httpserver.BeginTrace(d.ctx, d.w, d.r, "/webhooks/workspaces", d.receivedAt)
	d.requestID = httpserver.LogRequestID(d.w)
}

// readID reads the id of the delivery, which a sender need not give.
func (in *Intake) readID(_ context.Context, d *delivery) *problem.Refusal {
	ids := d.r.Header.Values(webhookauth.HeaderID)
	switch {
	case len(ids) == 0:
	case len(ids) > 1 || !deliveries.ValidDeliveryID(ids[0]):
		return problem.Invalid("webhook-id must be 1 to 128 printable ASCII characters without spaces")
	default:
		d.id = ids[0]
	}
	return nil
}

// takePlace lets in no more events at a time than the edge can carry. Repeats that wait for each other count.
func (in *Intake) takePlace(ctx context.Context, d *delivery) *problem.Refusal {
	if !in.underWay.enter() {
		in.noteRefusal(ctx, d.requestID, errTooMany)
		return tooMany
	}
	d.places = append(d.places, in.underWay.leave)
	return nil
}

// lookAtLane refuses what would wait too long for its turn at Temporal before anybody is asked anything about it: to refuse is cheap.
func (in *Intake) lookAtLane(ctx context.Context, d *delivery) *problem.Refusal {
	if retryAfter := in.lane.full(); retryAfter > 0 {
		return in.refuseForNow(ctx, d, retryAfter)
	}
	return nil
}

// recall answers a delivery that was answered before as it was then. Of deliveries of one id that come at the same time, one goes on and the
// others wait here for its answer.
//
// While the store manager can't be asked, deliveries go on as if they were new: what makes a repeat harmless is the state that it finds.
func (in *Intake) recall(ctx context.Context, d *delivery) *problem.Refusal {
	if d.id == "" {
		return nil
	}
	unlock, err := in.ids.lock(d.r.Context(), d.id)
	if err != nil {
		return unavailable // the sender has gone: nobody hears it
	}
	d.places = append(d.places, unlock)
	sum := sha256.Sum256(d.body)
	d.hash = hex.EncodeToString(sum[:])
	first, err := in.askMemory(ctx, d.id)
	switch {
	case err != nil:
		in.frequent.Warn("delivery memory not asked", d.requestID, zap.String(telemetry.KeyDeliveryID, d.id), zap.Error(err))
	case first != nil:
		return in.answerAgain(ctx, d, *first)
	}
	return nil
}

// limitSender comes after recall, so that a repeat does not count: whoever has caught a signed request could use up its sender's limit.
func (in *Intake) limitSender(_ context.Context, d *delivery) *problem.Refusal {
	if wait := in.limits.take(d.w.Header(), d.sender.Key); wait > 0 {
		return &problem.Refusal{Kind: problem.KindRateLimited, Message: "Too many webhooks from this sender", RetryAfter: wait}
	}
	return nil
}

// readEvent makes an event of the body.
func (in *Intake) readEvent(ctx context.Context, d *delivery) *problem.Refusal {
	ev, refused := parseEvent(d.body, d.receivedAt)
	if refused != nil {
		return refused
	}
	// A request without an id of its own is a delivery of its own: what makes its repeats harmless is the state they find.
	if ev.DeliveryID = d.id; d.id == "" {
		ev.DeliveryID = orchestrator.NewDeliveryID()
	}
	ev.Source, ev.ReceivedAt = contract.SourceWebhook, d.receivedAt.UTC().Truncate(time.Microsecond)
	ev.Origin = contract.Origin{Actor: d.sender.Key, RequestID: httpserver.RequestID(d.w), TraceID: tracing.TraceID(ctx)}
	d.event = ev
	return nil
}

// apply makes the event durable, and waits for its outcome as long as there is time.
func (in *Intake) apply(ctx context.Context, d *delivery) *problem.Refusal {
	if in.backlog.over.Load() {
		in.noteRefusal(ctx, d.requestID, errBacklog)
		return overloaded
	}
	if in.Refusing() {
		// One at a time finds out whether Temporal takes events again.
		if !in.trial.enter() {
			in.noteRefusal(ctx, d.requestID, errNotTaken)
			return unavailable
		}
		defer in.trial.leave()
	}
	if retryAfter := in.lane.enter(); retryAfter > 0 {
		return in.refuseForNow(ctx, d, retryAfter)
	}
	defer in.lane.leave()
	left := func() time.Duration { return max(0, in.config.WebhookWait-time.Since(d.receivedAt)) }
	// Without time left, or without its turn in time, the event is made durable and its outcome not waited for.
	if done, ok := in.lane.turn(ctx, left()); ok {
		defer done()
	}
	result, err := in.orchestrator.Apply(ctx, d.event, left())
	switch {
	case errors.Is(err, orchestrator.ErrInvalid):
		in.frequent.Warn("event refused by the workflow", d.requestID, zap.String(telemetry.KeyDeliveryID, d.event.DeliveryID), zap.Error(err))
		return problem.Invalid("The event was refused")
	case err != nil:
		in.notTaken.set()
		in.noteRefusal(ctx, d.requestID, err)
		return unavailable
	}
	in.notTaken.clear()
	d.answer = answerWith(result, d.receivedAt)
	if d.answer.status == http.StatusAccepted {
		in.keepAccepted(ctx, d)
	}
	return nil
}

// answerWith is 202 for an event that is durable and has no outcome yet.
func answerWith(result contract.Result, receivedAt time.Time) answer {
	body, err := json.Marshal(api.WebhookAnswer{
		Status: result.Status, ReceivedAt: receivedAt.UTC().Truncate(time.Millisecond),
		DeleteAt: result.DeleteAt, Detail: result.Detail, Connection: result.Connection,
	})
	if err != nil {
		panic(err) // strings and times can't fail
	}
	a := answer{status: http.StatusOK, body: body, outcome: string(result.Status)}
	if result.Status == contract.StatusAccepted {
		a.status = http.StatusAccepted
	}
	return a
}

// remember keeps the answer for repeats of the delivery. Edges don't wait for each other: when another one was first, its answer counts (an
// event changes nothing twice). What was refused is not remembered: it will be sent again.
func (in *Intake) remember(ctx context.Context, d *delivery) *problem.Refusal {
	if d.id == "" {
		return nil
	}
	kept, err := in.tellMemory(ctx, deliveries.Delivery{ID: d.id, BodyHash: d.hash, Status: d.answer.status, Answer: d.answer.body})
	if err != nil {
		in.frequent.Warn("delivery not remembered", d.requestID, zap.String(telemetry.KeyDeliveryID, d.id), zap.Error(err))
		return nil
	}
	if kept.BodyHash != d.hash || kept.Status != d.answer.status || string(kept.Answer) != string(d.answer.body) {
		return in.answerAgain(ctx, d, kept)
	}
	return nil
}
