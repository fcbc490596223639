package telemetry

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"
	"go.temporal.io/sdk/temporal"

	"storekeeper/internal/build"
)

// breadcrumbCategory is the category of all our breadcrumbs.
const breadcrumbCategory = "workspace_orchestration"

// maxBreadcrumbs is Sentry's own default.
const maxBreadcrumbs = 100

// SentryOptions says where failures go.
type SentryOptions struct {
	// DSN is that of the Sentry project. If it is empty, nothing is sent.
	DSN string
	// Environment is the name that operators filter by, such as "production". Empty means Sentry's default.
	Environment string
	// Secrets are values that must never leave the process. Each occurrence is replaced by "[redacted]".
	Secrets []string
}

// Sentry sends failures to a Sentry project. A nil *Sentry is valid and does nothing. Its methods may be called concurrently. Only Flush
// and Close wait for the network.
type Sentry struct {
	client *sentry.Client
	// trail holds the latest breadcrumbs of the whole process. Each capture clones it, so that no tag gets from one capture into another.
	trail    *sentry.Scope
	redactor *strings.Replacer
}

// NewSentry returns a nil *Sentry, which does nothing, when the DSN is empty. A malformed DSN is an error, which does not quote it. Events
// carry the release "storekeeper@<build.Version>" and no personal data. Close ends what NewSentry starts.
func NewSentry(opts SentryOptions) (*Sentry, error) {
	if opts.DSN == "" {
		return nil, nil
	}
	s := &Sentry{trail: sentry.NewScope(), redactor: newRedactor(opts.Secrets)}
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn:         opts.DSN,
		Environment: opts.Environment,
		Release:     "storekeeper@" + build.Version,
		BeforeSend:  s.scrub,
	})
	if err != nil {
		return nil, errors.New("the Sentry DSN is malformed: want https://<key>@<host>/<project>")
	}
	s.client = client
	return s, nil
}

// Breadcrumb adds an operation to the trail that is sent with the next captured failure.
func (s *Sentry) Breadcrumb(op Operation) {
	if s == nil {
		return
	}
	level := sentry.LevelInfo
	switch op.Outcome {
	case OutcomeFailed:
		level = sentry.LevelError
	case OutcomeCancelled:
		level = sentry.LevelWarning
	}
	// Secrets are removed here and not in BeforeSend, because all events that carry a breadcrumb share it.
	redact := s.redactor.Replace
	s.trail.AddBreadcrumb(&sentry.Breadcrumb{
		Type:     "default",
		Category: breadcrumbCategory,
		Message:  redact(op.Name),
		Level:    level,
		Data: map[string]any{
			KeyStoreID:    redact(op.StoreID),
			KeyPhase:      redact(op.Phase),
			KeyOutcome:    redact(op.Outcome),
			KeyDurationMs: op.Duration.Milliseconds(),
		},
	}, maxBreadcrumbs)
}

// Capture sends err, tagged with the operation that failed. It does nothing when err is nil or a cancellation, or when ctx was cancelled: a
// failure after the caller has gone, or during a shutdown, is no incident.
func (s *Sentry) Capture(ctx context.Context, err error, op Operation) {
	if s == nil || err == nil || cancelled(ctx, err) {
		return
	}
	scope := s.trail.Clone()
	for key, value := range map[string]string{KeyStoreID: op.StoreID, KeyOperation: op.Name, KeyPhase: op.Phase} {
		if value != "" {
			scope.SetTag(key, value)
		}
	}
	// Sentry groups by stack trace, and all captures of the interceptor have the same one.
	scope.SetFingerprint([]string{"{{ default }}", op.Name, op.Phase})
	s.client.CaptureException(err, &sentry.EventHint{Context: ctx, OriginalException: err}, scope)
}

// Flush waits until all captured failures are sent, or until the timeout is over, and returns whether they were sent.
func (s *Sentry) Flush(timeout time.Duration) bool {
	return s == nil || s.client.Flush(timeout)
}

// Close ends the background work. Call Flush first: failures that are still queued may be lost.
func (s *Sentry) Close() {
	if s != nil {
		s.client.Close()
	}
}

// scrub removes the secrets from everything in an event that can come from us.
func (s *Sentry) scrub(event *sentry.Event, _ *sentry.EventHint) *sentry.Event {
	event.Message = s.redactor.Replace(event.Message)
	for i := range event.Fingerprint {
		event.Fingerprint[i] = s.redactor.Replace(event.Fingerprint[i])
	}
	for i := range event.Exception {
		event.Exception[i].Value = s.redactor.Replace(event.Exception[i].Value)
	}
	for key, value := range event.Tags {
		event.Tags[key] = s.redactor.Replace(value)
	}
	return event
}

func cancelled(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled) || temporal.IsCanceledError(err)
}
