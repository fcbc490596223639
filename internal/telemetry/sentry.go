package telemetry

import (
	"context"
	"errors"
	"fmt"
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

// closeTimeout bounds Close: the client of Sentry would wait for a server that hangs.
const closeTimeout = time.Second

// kindOver is the kind of the news that something is over.
const kindOver = "over"

// SentryOptions says where failures go.
type SentryOptions struct {
	// DSN is that of the Sentry project. If it is empty, nothing is sent.
	DSN string
	// Environment is the name that operators filter by, such as "production". Empty means Sentry's default.
	Environment string
	// Role is the kind of process, which becomes the tag "role"; empty means no such tag.
	Role string
	// Secrets are values that must never leave the process. Each occurrence is replaced by "[redacted]".
	Secrets []string

	window time.Duration // of repeats; tests can't wait as long. Zero means repeatWindow
}

// Sentry sends failures to a Sentry project. A nil *Sentry is valid and does nothing. Its methods may be called concurrently. Only Flush
// and Close wait for the network.
//
// Failures of the same operation, phase and kind are one issue of Sentry's, whatever ids their texts hold. The first of them is sent at once. Those
// that follow within a minute are counted, and the newest is sent with their number when it is over; then within two minutes, and so on up to an hour.
type Sentry struct {
	client *sentry.Client
	// trail holds the latest breadcrumbs of the whole process. Each capture clones it, so that no tag gets from one capture into another.
	trail    *sentry.Scope
	redactor *strings.Replacer
	repeats  *repeats
	sides    sides
	tasks    failedTasks
}

// NewSentry returns a nil *Sentry, which does nothing, when the DSN is empty. A malformed DSN is an error, which does not quote it. Events
// carry the release "storekeeper@<build.Version>" and no personal data. Close ends what NewSentry starts.
func NewSentry(opts SentryOptions) (*Sentry, error) {
	if opts.DSN == "" {
		return nil, nil
	}
	s := &Sentry{trail: sentry.NewScope(), redactor: newRedactor(opts.Secrets), repeats: newRepeats(opts.window)}
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn:         opts.DSN,
		Environment: opts.Environment,
		Release:     "storekeeper@" + build.Version,
		Tags:        tags(map[string]string{"role": opts.Role}),
		BeforeSend:  func(event *sentry.Event, _ *sentry.EventHint) *sentry.Event { return scrub(event, s.redactor) },
	})
	if err != nil {
		return nil, errors.New("the Sentry DSN is malformed: want https://<key>@<host>/<project>")
	}
	s.client = client
	return s, nil
}

// tags leaves out those without a value.
func tags(all map[string]string) map[string]string {
	for key, value := range all {
		if value == "" {
			delete(all, key)
		}
	}
	return all
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
	if op.Kind == "" {
		op.Kind = kindOf(err)
	}
	s.capture(err, op, nil)
}

// capture sends err with what is told beside it: contexts by their name.
func (s *Sentry) capture(err error, op Operation, contexts map[string]sentry.Context) {
	s.send(op, func() *sentry.Event {
		event := s.client.EventFromException(err, sentry.LevelError)
		event.Contexts = contexts
		return event
	})
}

// Over sends that something is over which was captured. The message says what; it is followed by how long it lasted, unless that is 0, and by how many
// stores it concerned, unless these are 0. Both are in the context "outage", too.
func (s *Sentry) Over(op Operation, message string, lasted time.Duration, stores int) {
	if s == nil {
		return
	}
	if lasted > 0 {
		message += fmt.Sprintf(" after %s", lasted.Round(time.Millisecond))
	}
	if stores > 0 {
		message += fmt.Sprintf("; it concerned %d stores", stores)
	}
	op.Kind = kindOver
	s.send(op, func() *sentry.Event {
		event := s.client.EventFromMessage(message, sentry.LevelInfo)
		event.Contexts = map[string]sentry.Context{"outage": {KeyDurationMs: lasted.Milliseconds(), "stores": stores}}
		return event
	})
}

// send sends what made makes, at once or with the repeats that it is one of.
func (s *Sentry) send(op Operation, made func() *sentry.Event) {
	fingerprint := []string{op.Name, op.Phase, op.Kind}
	s.repeats.take(strings.Join(fingerprint, "\x00"), func(r *repeated) {
		scope := s.trail.Clone()
		scope.SetTags(tags(map[string]string{KeyStoreID: op.StoreID, KeyOperation: op.Name, KeyPhase: op.Phase}))
		scope.SetFingerprint(fingerprint)
		if r != nil {
			scope.SetContext("repeats", sentry.Context{"count": r.count, "since": r.since.UTC().Format(time.RFC3339)})
		}
		s.client.CaptureEvent(made(), nil, scope)
	})
}

// Flush sends what is still counted, waits until all is sent, or until the timeout is over, and returns whether it was sent.
func (s *Sentry) Flush(timeout time.Duration) bool {
	if s == nil {
		return true
	}
	s.repeats.flush()
	return s.client.Flush(timeout)
}

// Close ends the background work, within a second. Call Flush first: failures that are still queued may be lost.
func (s *Sentry) Close() {
	if s == nil {
		return
	}
	s.repeats.close()
	done := make(chan struct{})
	go func() {
		s.client.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout): // a server that hangs is not waited for
	}
}

func cancelled(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled) || temporal.IsCanceledError(err)
}
