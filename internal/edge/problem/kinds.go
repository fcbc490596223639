package problem

import "net/http"

// Kind is a kind of problem.
type Kind struct {
	// Code is the end of the problem's type, and the outcome in metrics and logs.
	Code   string
	Status int
	Title  string
	// Advice is what whoever gets the answer can do, for the page that the type names.
	Advice string
}

// The kinds of problems.
var (
	KindInvalid = &Kind{
		"invalid", http.StatusBadRequest, "Invalid request",
		"The same request is refused again. Mend what detail says.",
	}
	KindUnauthorized = &Kind{
		"unauthorized", http.StatusUnauthorized, "Unauthorized",
		"Webhooks bring a secret of WEBHOOK_SECRET in X-Webhook-Secret, or a Standard Webhooks signature made with one of its keys within the last " +
			"5 minutes; WEBHOOK_AUTH says which of the two is taken. All else that wants a token brings SERVER_BYPASS_TOKEN, or a token of OPERATOR_TOKENS. " +
			"The log names the reason of each refusal; the answer does not.",
	}
	KindForbidden = &Kind{
		"forbidden", http.StatusForbidden, "Forbidden",
		"The token is one of OPERATOR_TOKENS that may only read. Take one that may act: an entry without :read.",
	}
	KindNotFound = &Kind{
		"not_found", http.StatusNotFound, "Not found",
		"There is nothing here: look at /docs for what there is.",
	}
	KindMethodNotAllowed = &Kind{
		"method_not_allowed", http.StatusMethodNotAllowed, "Method not allowed",
		"The Allow header has the methods of this path.",
	}
	KindTooSlow = &Kind{
		"too_slow", http.StatusRequestTimeout, "Request too slow",
		"The body was not complete within 10 seconds. Send it again.",
	}
	KindConflict = &Kind{
		"conflict", http.StatusConflict, "Conflict",
		"Something else is under way, a reconcile run or a backup: wait for its end. Or there is nothing on a disk that could be backed up.",
	}
	KindNoRoom = &Kind{
		"no_room", http.StatusInsufficientStorage, "No room on the disk",
		"The server's disk has no room for copies of its databases. Nothing is left of them. Make room, and ask again.",
	}
	KindDeliveryConflict = &Kind{
		"delivery_conflict", http.StatusConflict, "Delivery id used for another body",
		"A delivery with this webhook-id came before with another body. This one has taken no effect, unless both came at the same moment by " +
			"different edges. The same event is sent again with the same id and the same bytes, another event has an id of its own; if that is " +
			"what the sender does, somebody else sends in its name.",
	}
	KindTooLarge = &Kind{
		"too_large", http.StatusRequestEntityTooLarge, "Body too large",
		"Bodies have at most 64 KiB.",
	}
	KindUnsupportedMediaType = &Kind{
		"unsupported_media_type", http.StatusUnsupportedMediaType, "Unsupported media type",
		"Send Content-Type: application/json, and no Content-Encoding. A charset has no meaning: the body must be UTF-8.",
	}
	KindRateLimited = &Kind{
		"rate_limited", http.StatusTooManyRequests, "Too many requests",
		"Wait for as long as Retry-After says. Webhooks: WEBHOOK_RATE_LIMIT is how many a second one sender may send.",
	}
	KindInternal = &Kind{
		"internal", http.StatusInternalServerError, "Internal server error",
		"A fault of ours. The log has it under the requestId.",
	}
	KindUnavailable = &Kind{
		"unavailable", http.StatusServiceUnavailable, "Unavailable",
		"What the request needs can't be reached. It may have been taken; send it again, a webhook with the same webhook-id. /health says what is wrong.",
	}
	KindOverloaded = &Kind{
		"overloaded", http.StatusServiceUnavailable, "Overloaded",
		"Events wait too long to be worked off, or too many come at once. Nothing was done: send it again after Retry-After.",
	}
	KindDisabled = &Kind{
		"disabled", http.StatusServiceUnavailable, "Disabled",
		"WORKSPACE_RECONCILE_ENABLED=false has switched this off.",
	}
)

// Kinds are all kinds of problems. Each has a page that explains it.
var Kinds = []*Kind{
	KindInvalid, KindUnauthorized, KindForbidden, KindNotFound, KindMethodNotAllowed, KindTooSlow, KindConflict, KindNoRoom, KindDeliveryConflict,
	KindTooLarge, KindUnsupportedMediaType, KindRateLimited, KindInternal, KindUnavailable, KindOverloaded, KindDisabled,
}

// Path is where the types of problems are explained, each under its code.
const Path = "/docs/problems/"
