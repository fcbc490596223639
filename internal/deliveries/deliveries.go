// package deliveries is the memory of webhooks: how each was answered, so that its repeat gets the same answer, and which events were
// answered before their outcome was known, so that none is lost with Temporal's database.
package deliveries

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"storekeeper/internal/storemanager"
)

// Memory remembers deliveries and accepted events. Every method is safe to repeat.
type Memory interface {
	// Count is how many deliveries are remembered.
	Count(ctx context.Context) (int64, error)
	// Delivery returns what is remembered of a webhook's delivery; nil without an error if it is not known, or no longer.
	Delivery(ctx context.Context, id string) (*Delivery, error)
	// Remember keeps a delivery for DeliveryRetention, or until MaxDeliveries newer ones have come, and returns what is remembered
	// now: another one, unchanged, if one of this id is.
	Remember(ctx context.Context, d Delivery) (Delivery, error)

	// KeepAccepted keeps an event until its store is known to have heard of it, or of a newer one, for DeliveryRetention at the most. One of
	// the same delivery stays as it is.
	KeepAccepted(ctx context.Context, e AcceptedEvent) error
	// Unheard returns up to MaxBatch of the accepted events that their stores are not known to have heard of, sorted by DeliveryID; none
	// for the engine that knows them all, which is the one that EngineTold has named last.
	Unheard(ctx context.Context, q UnheardRequest) ([]AcceptedEvent, error)
	// EngineTold says that an engine has been told of all accepted events. It hears of new ones before they are kept.
	EngineTold(ctx context.Context, q EngineRequest) error
}

// Delivery is what is remembered of a webhook that was answered, so that its repeat gets the same answer.
type Delivery struct {
	// ID is the sender's: 1 to 128 printable ASCII characters.
	ID string `json:"id"`
	// BodyHash is the SHA-256 of the body, in hexadecimal digits.
	BodyHash string `json:"bodyHash"`
	// Status and Answer are what was answered: the HTTP status and the body, a JSON value of at most 4 KiB.
	Status int             `json:"status"`
	Answer json.RawMessage `json:"answer"`
	// At is when it was remembered; the registry sets it.
	At time.Time `json:"at,omitzero"`
}

const (
	// DeliveryRetention is how long a Delivery is remembered, unless more than MaxDeliveries come in that time.
	DeliveryRetention = 7 * 24 * time.Hour
	// MaxDeliveries is how many are remembered at the most, by default. Of more the oldest are forgotten early, and a repeat of one
	// of them is taken for a new event, which the lifecycle then finds to be stale or done. It takes 16 deliveries a second for
	// 7 days without an end; on disk each is some 320 bytes, so all of them 3.2 GB.
	MaxDeliveries = 10_000_000

	maxDeliveryAnswer = 4 << 10
)

var (
	deliveryIDPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
	bodyHashPattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidDeliveryID reports whether id can be the id of a delivery.
func ValidDeliveryID(id string) bool { return deliveryIDPattern.MatchString(id) }

func (d Delivery) Validate() error {
	switch {
	case !ValidDeliveryID(d.ID):
		return fmt.Errorf("%w: %.80q can't be the id of a delivery", storemanager.ErrInvalid, d.ID)
	case !bodyHashPattern.MatchString(d.BodyHash):
		return fmt.Errorf("%w: a body's hash has 64 hexadecimal digits", storemanager.ErrInvalid)
	case d.Status < 100 || d.Status > 599:
		return fmt.Errorf("%w: %d is no HTTP status", storemanager.ErrInvalid, d.Status)
	case len(d.Answer) > maxDeliveryAnswer || !json.Valid(d.Answer):
		return fmt.Errorf("%w: an answer is a JSON value of at most %d bytes", storemanager.ErrInvalid, maxDeliveryAnswer)
	}
	return nil
}

// AcceptedEvent is an event that was answered while Temporal alone knew it: its outcome was to come. Should Temporal's database be
// replaced before, the new one is told of it again.
type AcceptedEvent struct {
	// DeliveryID is as in Delivery.
	DeliveryID string `json:"deliveryId"`
	StoreID    string `json:"storeId"`
	// EventAt is the moment of the event, by the clock of its origin.
	EventAt time.Time `json:"eventAt"`
	// Event is a JSON value of at most 4 KiB, which the registry does not read.
	Event json.RawMessage `json:"event"`
}

// UnheardRequest asks for a page of accepted events.
type UnheardRequest struct {
	// Engine identifies Temporal's database.
	Engine string
	// After is the DeliveryID of the last event of the page before; "" for the first page.
	After string
}

// EngineRequest names a database of Temporal.
type EngineRequest struct {
	Engine string `json:"engine"`
}

const maxEngine = 128

func (e AcceptedEvent) Validate() error {
	switch {
	case !ValidDeliveryID(e.DeliveryID):
		return fmt.Errorf("%w: %.80q can't be the id of a delivery", storemanager.ErrInvalid, e.DeliveryID)
	case e.EventAt.IsZero():
		return fmt.Errorf("%w: an event has its moment", storemanager.ErrInvalid)
	case len(e.Event) > maxDeliveryAnswer || !json.Valid(e.Event):
		return fmt.Errorf("%w: an event is a JSON value of at most %d bytes", storemanager.ErrInvalid, maxDeliveryAnswer)
	}
	return storemanager.CheckID(e.StoreID)
}

func CheckEngine(engine string) error {
	if engine == "" || len(engine) > maxEngine {
		return fmt.Errorf("%w: an engine has a name of at most %d bytes", storemanager.ErrInvalid, maxEngine)
	}
	return nil
}
