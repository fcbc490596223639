package edge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/orchestrator"
	"storekeeper/internal/telemetry"
	"storekeeper/workflows"
)

const maxBody = 64 << 10

// deliveryIDPattern is printable ASCII without spaces.
var deliveryIDPattern = regexp.MustCompile(`^[!-~]{1,128}$`)

// refusal is an answer to a webhook that is not taken. A nil *refusal is none.
type refusal struct {
	status int
	// message is for the sender, as {"error": message}.
	message string
	// outcome is for metrics and logs.
	outcome string
}

var (
	unauthorized = &refusal{http.StatusUnauthorized, "Unauthorized", "unauthorized"}
	bodyTooLarge = &refusal{http.StatusRequestEntityTooLarge, "The body is over 64 KiB", "too_large"}
	bodyTooSlow  = &refusal{http.StatusRequestTimeout, "The body took too long", "too_slow"}
	unavailable  = &refusal{http.StatusServiceUnavailable, "The event could not be stored; send it again", "unavailable"}
)

func invalid(message string) *refusal { return &refusal{http.StatusBadRequest, message, "invalid"} }

type webhookAnswer struct {
	Status     workflows.Status `json:"status"`
	ReceivedAt time.Time        `json:"receivedAt"`
	DeleteAt   *time.Time       `json:"deleteAt,omitempty"`
	Detail     string           `json:"detail,omitempty"`
	// Connection is that of workflows.Result.
	Connection string `json:"connection,omitempty"`
}

// webhook answers 2xx only once the event is durable: 200 with its outcome, or 202 when that is not known in time.
func (s *Server) webhook(w http.ResponseWriter, r *http.Request) {
	receivedAt := time.Now()
	ev, refused := s.readEvent(w, r)
	var result workflows.Result
	if refused == nil {
		result, refused = s.apply(r.Context(), ev)
	}
	s.tell(w, ev, result, refused, time.Since(receivedAt))
	switch {
	case refused == unavailable:
		writeUnavailable(w, refused.message)
	case refused != nil:
		writeError(w, refused.status, refused.message)
	default:
		status := http.StatusOK
		if result.Status == workflows.StatusAccepted {
			status = http.StatusAccepted
		}
		writeJSON(w, status, webhookAnswer{
			Status: result.Status, ReceivedAt: receivedAt.UTC().Truncate(time.Millisecond),
			DeleteAt: result.DeleteAt, Detail: result.Detail, Connection: result.Connection,
		})
	}
}

// readEvent reads nothing of a body whose sender is not known.
func (s *Server) readEvent(w http.ResponseWriter, r *http.Request) (workflows.Event, *refusal) {
	if !s.knowsSecret(r.Header.Get("X-Webhook-Secret")) {
		return workflows.Event{}, unauthorized
	}
	body, refused := readBody(w, r)
	if refused != nil {
		return workflows.Event{}, refused
	}
	ev, refused := parseEvent(body, time.Now())
	if refused != nil {
		return workflows.Event{}, refused
	}
	// A request without an id of its own is a delivery of its own: what makes its repeats harmless is the state they find.
	ev.DeliveryID = orchestrator.NewDeliveryID()
	if given := r.Header.Values("Webhook-Id"); len(given) > 0 {
		if ev.DeliveryID = given[0]; !deliveryIDPattern.MatchString(ev.DeliveryID) {
			return workflows.Event{}, invalid("webhook-id must be 1 to 128 printable ASCII characters without spaces")
		}
	}
	ev.Source = workflows.SourceWebhook
	return ev, nil
}

// knowsSecret compares with all secrets, and hashes, which are of one length: the time taken tells nothing about them.
func (s *Server) knowsSecret(given string) bool {
	hash := sha256.Sum256([]byte(given))
	known := 0
	for _, secret := range s.secretHashes {
		known |= subtle.ConstantTimeCompare(hash[:], secret[:])
	}
	return given != "" && known == 1
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close") // or the server would read on for the next request
		return nil, bodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, bodyTooSlow
	case err != nil:
		return nil, invalid("The body could not be read")
	}
	return body, nil
}

// apply makes the event durable, even for a sender that hangs up: it would send the event again, but not for ever.
func (s *Server) apply(ctx context.Context, ev workflows.Event) (workflows.Result, *refusal) {
	ctx = context.WithoutCancel(ctx)
	result, err := s.orchestrator.Apply(ctx, ev, s.config.WebhookWait)
	switch {
	case errors.Is(err, orchestrator.ErrInvalid):
		s.log.Warn("event refused by the workflow", zap.String(telemetry.KeyDeliveryID, ev.DeliveryID), zap.Error(err))
		return workflows.Result{}, invalid("The event was refused")
	case err != nil:
		s.noteOutage(ctx, err)
		return workflows.Result{}, unavailable
	}
	s.refusedAt.Store(0)
	return result, nil
}

// tell leaves one log line, one count and, when it was about a store, one breadcrumb.
func (s *Server) tell(w http.ResponseWriter, ev workflows.Event, result workflows.Result, refused *refusal, took time.Duration) {
	outcome := string(result.Status)
	if refused != nil {
		outcome = refused.outcome
	}
	s.metrics.Webhook(string(ev.Type), outcome, took)
	fields := []zap.Field{requestID(w), zap.String(telemetry.KeyOutcome, outcome), zap.Duration(telemetry.KeyDurationMs, took)}
	if ev.Type == "" { // nothing that came is fit for a log line
		s.log.Info("webhook refused", append(fields, zap.String(telemetry.KeyReason, refused.message))...)
		return
	}
	s.log.Info("webhook answered", append(fields,
		zap.String(telemetry.KeyEvent, string(ev.Type)), zap.String(telemetry.KeyStoreID, ev.InstanceID),
		zap.String("userId", ev.UserID), zap.String(telemetry.KeyDeliveryID, ev.DeliveryID))...)

	op := telemetry.Operation{
		StoreID: ev.InstanceID, Name: operationWebhook, Phase: "provision", Outcome: telemetry.OutcomeSucceeded, Duration: took,
	}
	if ev.Type == workflows.WorkspaceDeleted {
		op.Phase = "deletion"
	}
	if refused != nil {
		op.Outcome = telemetry.OutcomeFailed
	}
	s.sentry.Breadcrumb(op)
}

const operationWebhook = "webhook"
