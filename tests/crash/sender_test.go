package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"storekeeper/contract"
	"storekeeper/internal/standalone"
	"storekeeper/internal/webhookauth"
	"storekeeper/tests/harness"
)

// event is one that the Auth Worker has told of, or would have.
type event struct {
	id   string // of the workspace
	kind contract.EventType
	at   time.Time // its timestamp, which has milliseconds
	// delivery is the webhook-id; "" for a sender that has none.
	delivery string
	user     string
	sent     time.Time // the first attempt; zero for an event that was lost before
	answers  []answer
}

// answer is a 2xx to one attempt.
type answer struct {
	sent, at time.Time // of the attempt, and of the answer
	status   contract.Status
	deleteAt time.Time // as promised; zero for none
	replayed bool
}

func (e *event) answered() bool { return len(e.answers) > 0 }

// post is the webhooks' way to the edge, and what is known of each event.
type post struct {
	edgeURL string
	under   sync.WaitGroup // deliveries under way

	mu     sync.Mutex
	events []*event
}

// attemptTimeout is how long an attempt waits for its answer: longer than the edge would take without being killed.
const attemptTimeout = 10 * time.Second

var webhooks = &http.Client{Timeout: attemptTimeout}

// fate is what happens to the deliveries of an event.
type fate struct {
	lost       bool          // no attempt arrives
	delay      time.Duration // before the first attempt: events come in no order
	answerLost bool          // the sender does not hear the answer to the first attempt
	again      time.Duration // the same once more, so long after it was taken; 0: never
}

func randomFate(rng *rand.Rand) fate {
	f := fate{lost: rng.Float64() < 0.2, answerLost: rng.Float64() < 0.1}
	if rng.Float64() < 0.3 {
		f.delay = time.Duration(rng.IntN(1500)) * time.Millisecond
	}
	if rng.Float64() < 0.2 {
		f.again = time.Duration(rng.IntN(5000)) * time.Millisecond
	}
	return f
}

// tell begins to tell of an event and returns at once; delivered, if not nil, is closed when the deliveries are over.
func (p *post) tell(ctx context.Context, e *event, f fate, delivered chan<- struct{}) {
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	p.under.Go(func() {
		if delivered != nil {
			defer close(delivered)
		}
		if f.lost {
			return
		}
		pause(ctx, f.delay)
		// Three attempts, each by itself, as in the contract of the Auth Worker.
		for n, wait := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
			pause(ctx, wait)
			if p.attempt(ctx, e) && (n > 0 || !f.answerLost) {
				break
			}
		}
		if f.again > 0 {
			pause(ctx, f.again)
			p.attempt(ctx, e)
		}
	})
}

// attempt sends the event once: the same bytes each time. It says whether the answer was a 2xx.
func (p *post) attempt(ctx context.Context, e *event) bool {
	body := fmt.Sprintf(`{"event":%q,"instanceId":%q,"userId":%q,"timestamp":%q}`, e.kind, e.id, e.user, e.at.UTC().Format("2006-01-02T15:04:05.000Z"))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.edgeURL+"/webhooks/workspaces", bytes.NewBufferString(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Secret", standalone.DemoWebhookSecret)
	if e.delivery != "" {
		req.Header.Set(webhookauth.HeaderID, e.delivery)
	}
	sent := time.Now()
	p.mu.Lock()
	if e.sent.IsZero() {
		e.sent = sent
	}
	p.mu.Unlock()
	r := do(req)
	if r.Code < 200 || r.Code > 299 {
		return false
	}
	var told struct {
		Status   contract.Status `json:"status"`
		DeleteAt time.Time       `json:"deleteAt"`
	}
	_ = json.Unmarshal([]byte(r.Body), &told)
	p.mu.Lock()
	defer p.mu.Unlock()
	e.answers = append(e.answers, answer{
		sent: sent, at: time.Now(), status: told.Status, deleteAt: told.DeleteAt, replayed: r.Header.Get("Idempotent-Replayed") != "",
	})
	return true
}

// do is the answer to a request; its Code is 0 when there was none.
func do(req *http.Request) harness.Response {
	resp, err := webhooks.Do(req)
	if err != nil {
		return harness.Response{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return harness.Response{}
	}
	return harness.Response{Code: resp.StatusCode, Header: resp.Header, Body: string(text)}
}

// history is what is known of all events by now.
func (p *post) history() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]event, len(p.events))
	for i, e := range p.events {
		all[i] = *e
	}
	return all
}

// newEvent is an event of the workspace that happened at that moment.
func newEvent(a *authWorker, kind contract.EventType, id string, at time.Time, withDelivery bool) *event {
	e := &event{id: id, kind: kind, at: at.Truncate(time.Millisecond), user: a.owner(id)}
	if withDelivery {
		e.delivery = "evt_" + uuid.NewString()
	}
	return e
}
