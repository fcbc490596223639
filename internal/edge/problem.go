package edge

import (
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpserver"
)

// kind is a kind of problem. Its code is the outcome in metrics and logs too, and the end of the problem's type.
type kind struct {
	code   string
	status int
	title  string
	// advice is what whoever gets the answer can do, for the page that the type names.
	advice string
}

var (
	kindInvalid = &kind{
		"invalid", http.StatusBadRequest, "Invalid request",
		"The same request is refused again. Mend what detail says.",
	}
	kindUnauthorized = &kind{
		"unauthorized", http.StatusUnauthorized, "Unauthorized",
		"Webhooks bring a secret of WEBHOOK_SECRET in X-Webhook-Secret, or a Standard Webhooks signature made with one of its keys within the last " +
			"5 minutes; WEBHOOK_AUTH says which of the two is taken. All else that wants a token brings SERVER_BYPASS_TOKEN. " +
			"The log names the reason of each refusal; the answer does not.",
	}
	kindNotFound = &kind{
		"not_found", http.StatusNotFound, "Not found",
		"There is nothing here: look at /docs for what there is.",
	}
	kindMethodNotAllowed = &kind{
		"method_not_allowed", http.StatusMethodNotAllowed, "Method not allowed",
		"The Allow header has the methods of this path.",
	}
	kindTooSlow = &kind{
		"too_slow", http.StatusRequestTimeout, "Request too slow",
		"The body was not complete within 10 seconds. Send it again.",
	}
	kindConflict = &kind{
		"conflict", http.StatusConflict, "Conflict",
		"A reconcile run is under way. Wait for its end.",
	}
	kindDeliveryConflict = &kind{
		"delivery_conflict", http.StatusConflict, "Delivery id used for another body",
		"A delivery with this webhook-id came before with another body. This one has taken no effect, unless both came at the same moment by " +
			"different edges. The same event is sent again with the same id and the same bytes, another event has an id of its own; if that is " +
			"what the sender does, somebody else sends in its name.",
	}
	kindTooLarge = &kind{
		"too_large", http.StatusRequestEntityTooLarge, "Body too large",
		"Bodies have at most 64 KiB.",
	}
	kindUnsupportedMediaType = &kind{
		"unsupported_media_type", http.StatusUnsupportedMediaType, "Unsupported media type",
		"Send Content-Type: application/json, and no Content-Encoding. A charset has no meaning: the body must be UTF-8.",
	}
	kindRateLimited = &kind{
		"rate_limited", http.StatusTooManyRequests, "Too many requests",
		"Wait for as long as Retry-After says. Webhooks: WEBHOOK_RATE_LIMIT is how many a second one sender may send.",
	}
	kindInternal = &kind{
		"internal", http.StatusInternalServerError, "Internal server error",
		"A fault of ours. The log has it under the requestId.",
	}
	kindUnavailable = &kind{
		"unavailable", http.StatusServiceUnavailable, "Unavailable",
		"What the request needs can't be reached. It may have been taken; send it again, a webhook with the same webhook-id. /health says what is wrong.",
	}
	kindOverloaded = &kind{
		"overloaded", http.StatusServiceUnavailable, "Overloaded",
		"Events wait too long to be worked off, or too many come at once. Nothing was done: send it again after Retry-After.",
	}
	kindDisabled = &kind{
		"disabled", http.StatusServiceUnavailable, "Disabled",
		"WORKSPACE_RECONCILE_ENABLED=false has switched this off.",
	}
)

// kinds are all there are: a problem that no page explains is none.
var kinds = []*kind{
	kindInvalid, kindUnauthorized, kindNotFound, kindMethodNotAllowed, kindTooSlow, kindConflict, kindDeliveryConflict, kindTooLarge,
	kindUnsupportedMediaType, kindRateLimited, kindInternal, kindUnavailable, kindOverloaded, kindDisabled,
}

// problemPath is where the types of problems are explained.
const problemPath = "/docs/problems/"

// refusal is an answer to a request that is not served. A nil *refusal is none.
type refusal struct {
	*kind
	// message is for the caller: a sentence of ours, never the text of an error.
	message string
	// retryAfter is when a repeat is worth it; 0 says nothing about that.
	retryAfter time.Duration
}

func invalid(message string) *refusal { return &refusal{kind: kindInvalid, message: message} }

func writeProblem(w http.ResponseWriter, k *kind, message string) {
	writeRefusal(w, &refusal{kind: k, message: message})
}

func writeRefusal(w http.ResponseWriter, r *refusal) {
	if r.retryAfter > 0 {
		httpserver.SetRetryAfter(w, r.retryAfter)
	}
	httpserver.WriteProblem(w, r.status, api.Problem{
		Type: problemPath + r.code, Title: r.title, Status: r.status, Detail: r.message, Error: r.message,
		RequestID: httpserver.RequestID(w), RetryAfterMs: r.retryAfter.Milliseconds(),
	})
}

// writeUnavailable answers 503 with a Retry-After.
func writeUnavailable(w http.ResponseWriter, message string) {
	writeRefusal(w, &refusal{kind: kindUnavailable, message: message, retryAfter: retryLater})
}

// explainProblem is the page that a problem's type names.
func explainProblem(w http.ResponseWriter, r *http.Request) {
	for _, k := range kinds {
		if k.code == chi.URLParam(r, "code") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = fmt.Fprintf(w, "%s (%d)\n\n%s\n", k.title, k.status, k.advice)
			return
		}
	}
	writeProblem(w, kindNotFound, "No such kind of problem")
}
