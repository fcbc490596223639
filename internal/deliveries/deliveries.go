// Package deliveries is the memory of webhooks. It remembers how each was answered, so that a repeat gets the same answer, and which events were answered
// before their outcome was known, so that none is lost with Temporal's database. It knows of the store manager's errors and bounds, and of no
// database: that is deliveries/sqlite.
package deliveries

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"storekeeper/internal/storemanager"
)

// Memory remembers deliveries and accepted events. Every method is safe to repeat, and safe for concurrent use. A request that can never succeed is
// storemanager.ErrInvalid; any other error is worth a retry.
type Memory interface {
	// Count returns how many deliveries are remembered.
	Count(ctx context.Context) (int64, error)
	// Delivery returns what is remembered of a webhook's delivery; nil, without an error, if nothing is, or no longer.
	Delivery(ctx context.Context, id string) (*Delivery, error)
	// Remember keeps a delivery for DeliveryRetention, or until MaxDeliveries newer ones have come. It returns what is remembered of the id now: the delivery
	// with its At, or the first one of the id, which stays as it is.
	Remember(ctx context.Context, d Delivery) (Delivery, error)

	// KeepAccepted keeps an event until its store is known to have heard of it, or of a newer event, and for DeliveryRetention at the most. An event that is
	// kept already of the same delivery stays as it is.
	KeepAccepted(ctx context.Context, e AcceptedEvent) error
	// Unheard returns a page, of up to storemanager.MaxBatch, of the accepted events of which their stores are not known to have heard, sorted by DeliveryID.
	// The engine that EngineTold has named last knows all events, so its page is empty. It is never nil without an error.
	Unheard(ctx context.Context, q UnheardRequest) ([]AcceptedEvent, error)
	// EngineTold notes that an engine has been told of all accepted events. It hears of new events before they are kept, so it knows them too.
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
	// At is when it was remembered. The memory sets it.
	At time.Time `json:"at,omitzero"`
}

const (
	// DeliveryRetention is how long a Delivery is remembered, unless more than MaxDeliveries come in that time.
	DeliveryRetention = 7 * 24 * time.Hour
	// MaxDeliveries is how many are remembered at the most, by default. If there are more, the oldest are forgotten early. A repeat of one of them is then
	// taken for a new event, which the lifecycle finds to be stale or done. It takes 16 deliveries a second, for 7 days without a break, to reach that. Each
	// takes some 320 bytes on disk, so all of them take 3.2 GB.
	MaxDeliveries = 10_000_000

	maxDeliveryAnswer = 4 << 10
)

var (
	deliveryIDPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
	bodyHashPattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ValidDeliveryID reports whether id can be the id of a delivery.
func ValidDeliveryID(id string) bool { return deliveryIDPattern.MatchString(id) }

// Validate returns a storemanager.ErrInvalid that says what is wrong with the delivery; nil if nothing is.
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

// AcceptedEvent is an event that was answered before its outcome was known, while Temporal alone knew of it. If Temporal's database is replaced before the
// outcome, the new one is told of the event.
type AcceptedEvent struct {
	// DeliveryID is as in Delivery.
	DeliveryID string `json:"deliveryId"`
	StoreID    string `json:"storeId"`
	// EventAt is the moment of the event, by the clock of its origin.
	EventAt time.Time `json:"eventAt"`
	// Event is a JSON value of at most 4 KiB, which the memory does not read.
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

// maxEngine is how long the name of an engine may be, in bytes.
const maxEngine = 128

// Validate is as that of Delivery.
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

// Validate is as that of Delivery.
func (q UnheardRequest) Validate() error { return checkEngine(q.Engine) }

// Validate is as that of Delivery.
func (q EngineRequest) Validate() error { return checkEngine(q.Engine) }

func checkEngine(engine string) error {
	if engine == "" || len(engine) > maxEngine {
		return fmt.Errorf("%w: an engine has a name of at most %d bytes", storemanager.ErrInvalid, maxEngine)
	}
	return nil
}
