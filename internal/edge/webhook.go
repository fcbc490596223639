package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"storekeeper/contract"
	"storekeeper/internal/deliveries"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
	"storekeeper/internal/webhookauth"
)

const (
	maxBody = 64 << 10
	// maxUnderWay is how many events may be on their way to Temporal or wait for their turn.
	maxUnderWay = 512
	// maxBodies is how many bodies of senders with a right secret may be on their way to the edge at a time, and how many of senders
	// whose signature only the body can prove. They have 10 s, and strangers, who can only be among the latter, can send slowly.
	maxBodies = 2048
)

var (
	unauthorized     = &refusal{kind: kindUnauthorized, message: "Unauthorized"}
	bodyTooLarge     = &refusal{kind: kindTooLarge, message: "The body is over 64 KiB"}
	bodyTooSlow      = &refusal{kind: kindTooSlow, message: "The body took too long"}
	noJSON           = &refusal{kind: kindUnsupportedMediaType, message: "Content-Type must be application/json, and the body not encoded"}
	deliveryConflict = &refusal{kind: kindDeliveryConflict, message: "This webhook-id came before with another body"}
	unavailable      = &refusal{kind: kindUnavailable, message: "The event could not be stored; send it again", retryAfter: retryLater}
)

// delivery is a webhook as far as it has been understood.
type delivery struct {
	requestID zap.Field
	sender    webhookauth.Sender
	// id is the sender's; "" when it gave none.
	id    string
	body  []byte
	event contract.Event
}

// webhook answers 2xx only once the event is durable: 200 with its outcome, or 202 when that is not known in time.
func (s *Server) webhook(w http.ResponseWriter, r *http.Request) {
	receivedAt := time.Now()
	d := delivery{requestID: httpserver.LogRequestID(w)}
	a, refused := s.take(w, r, &d, receivedAt)
	s.tell(d, a, refused, time.Since(receivedAt))
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	a.write(w)
}

// take goes from what is cheap to find out to what is not: a stranger costs no more than the headers.
func (s *Server) take(w http.ResponseWriter, r *http.Request, d *delivery, receivedAt time.Time) (answer, *refusal) {
	if refused := s.identifySender(w, r, d, receivedAt); refused != nil {
		return answer{}, refused
	}
	// The event becomes durable even if the sender hangs up: it would send it again, but not for ever.
	ctx := context.WithoutCancel(r.Context())
	if !s.events.enter() {
		s.noteRefusal(ctx, d.requestID, errTooMany)
		return answer{}, tooManyOnce
	}
	defer s.events.leave()
	if retryAfter := s.lane.full(); retryAfter > 0 {
		return answer{}, s.refuseForNow(ctx, d, retryAfter)
	}
	// What is known already does not count against the sender: whoever has caught a signed request could use up its limit.
	handle := func() (answer, *refusal) {
		if wait := s.limits.take(w.Header(), d.sender.Key); wait > 0 {
			return answer{}, &refusal{kind: kindRateLimited, message: "Too many webhooks from this sender", retryAfter: wait}
		}
		var refused *refusal
		if d.event, refused = d.read(receivedAt); refused != nil {
			return answer{}, refused
		}
		return s.apply(ctx, d, receivedAt)
	}
	if d.id == "" {
		return handle()
	}
	return s.once(r.Context(), d, handle)
}

// identifySender reads the body of a sender whose headers can be right, and of no other.
func (s *Server) identifySender(w http.ResponseWriter, r *http.Request, d *delivery, now time.Time) *refusal {
	claim, err := s.keyring.Check(r.Header, now)
	if err != nil {
		return s.refuseSender(w, err)
	}
	if !isJSON(r.Header) {
		return noJSON
	}
	var refused *refusal
	if d.body, refused = s.readWebhook(w, r, claim); refused != nil {
		return refused
	}
	if d.sender, err = claim.Verify(d.body); err != nil {
		return s.refuseSender(w, err)
	}
	httpserver.Trust(r.Context())
	s.metrics.WebhookAuth(string(d.sender.Method), telemetry.OutcomeSucceeded)
	if d.sender.SignatureErr != nil {
		// Whoever moves to signatures wants to know before secrets are no longer taken.
		s.metrics.WebhookAuth(string(webhookauth.MethodSignature), reason(d.sender.SignatureErr))
		s.frequent.Warn("webhook signature wrong beside a right secret", httpserver.LogRequestID(w), zap.String(telemetry.KeyReason, reason(d.sender.SignatureErr)))
	}
	ids := r.Header.Values(webhookauth.HeaderID)
	switch {
	case len(ids) == 0:
	case len(ids) > 1 || !deliveries.ValidDeliveryID(ids[0]):
		return invalid("webhook-id must be 1 to 128 printable ASCII characters without spaces")
	default:
		d.id = ids[0]
	}
	return nil
}

func (s *Server) readWebhook(w http.ResponseWriter, r *http.Request, claim webhookauth.Claim) ([]byte, *refusal) {
	room := s.unprovenBodies
	if claim.Trusted() {
		httpserver.Trust(r.Context())
		room = s.bodies
	}
	if !room.enter() {
		if claim.Trusted() { // a stranger's refusal needs no repair
			s.noteRefusal(r.Context(), httpserver.LogRequestID(w), errTooMany)
		}
		return nil, tooManyOnce
	}
	defer room.leave()
	return readBody(w, r)
}

func (s *Server) refuseSender(w http.ResponseWriter, err error) *refusal {
	s.metrics.WebhookAuth("none", reason(err))
	s.frequent.Info("sender refused", httpserver.LogRequestID(w), zap.String(telemetry.KeyReason, reason(err)))
	return unauthorized
}

// reason is a word of a fixed set.
func reason(err error) string {
	if refusal, ok := errors.AsType[webhookauth.Refusal](err); ok {
		return string(refusal)
	}
	return "other"
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

func (d *delivery) read(now time.Time) (contract.Event, *refusal) {
	ev, refused := parseEvent(d.body, now)
	if refused != nil {
		return contract.Event{}, refused
	}
	// A request without an id of its own is a delivery of its own: what makes its repeats harmless is the state they find.
	if ev.DeliveryID = d.id; d.id == "" {
		ev.DeliveryID = orchestrator.NewDeliveryID()
	}
	ev.Source = contract.SourceWebhook
	return ev, nil
}

// readBody reads all of a body that is not too large.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	body, err := httpserver.ReadBody(w, r, maxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, bodyTooSlow
	case err != nil:
		return nil, invalid("The body could not be read")
	}
	return body, nil
}

// apply makes the event durable.
func (s *Server) apply(ctx context.Context, d *delivery, receivedAt time.Time) (answer, *refusal) {
	if s.backlog.over.Load() {
		s.noteRefusal(ctx, d.requestID, errBacklog)
		return answer{}, overloaded
	}
	if s.refusing() {
		// One at a time finds out whether Temporal takes events again.
		if !s.trial.enter() {
			s.noteRefusal(ctx, d.requestID, errNotTaken)
			return answer{}, unavailable
		}
		defer s.trial.leave()
	}
	if retryAfter := s.lane.enter(); retryAfter > 0 {
		return answer{}, s.refuseForNow(ctx, d, retryAfter)
	}
	defer s.lane.leave()
	left := func() time.Duration { return max(0, s.config.WebhookWait-time.Since(receivedAt)) }
	// Without time left, or without its turn in time, the event is made durable and its outcome not waited for.
	if done, ok := s.lane.turn(ctx, left()); ok {
		defer done()
	}
	result, err := s.orchestrator.Apply(ctx, d.event, left())
	switch {
	case errors.Is(err, orchestrator.ErrInvalid):
		s.frequent.Warn("event refused by the workflow", d.requestID, zap.String(telemetry.KeyDeliveryID, d.event.DeliveryID), zap.Error(err))
		return answer{}, invalid("The event was refused")
	case err != nil:
		s.notTaken.set()
		s.noteRefusal(ctx, d.requestID, err)
		return answer{}, unavailable
	}
	s.notTaken.clear()
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
		s.keepAccepted(ctx, d)
	}
	return a, nil
}

func (s *Server) refuseForNow(ctx context.Context, d *delivery, retryAfter time.Duration) *refusal {
	s.noteRefusal(ctx, d.requestID, errTooMany)
	refused := *tooManyOnce
	refused.retryAfter = retryAfter
	return &refused
}

// tell leaves one count; of an event that was taken also a log line and a breadcrumb, and of what else came some log lines.
func (s *Server) tell(d delivery, a answer, refused *refusal, took time.Duration) {
	ev, outcome := d.event, a.outcome
	if refused != nil {
		outcome = refused.code
	}
	s.metrics.Webhook(string(ev.Type), outcome, took)
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
		s.frequent.Info("webhook refused", append(fields, zap.String(telemetry.KeyReason, refused.message))...)
		return
	case ev.Type == "":
		s.frequent.Info("webhook answered again", append(fields, zap.String(telemetry.KeyDeliveryID, d.id))...)
		return
	}
	s.log.Info("webhook answered", append(fields, zap.String(telemetry.KeyDeliveryID, ev.DeliveryID))...)

	op := telemetry.Operation{
		StoreID: ev.InstanceID, Name: operationWebhook, Phase: "provision", Outcome: telemetry.OutcomeSucceeded, Duration: took,
	}
	if ev.Type == contract.WorkspaceDeleted {
		op.Phase = "deletion"
	}
	s.sentry.Breadcrumb(op)
}

const operationWebhook = "webhook"
