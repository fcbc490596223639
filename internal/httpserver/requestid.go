package httpserver

import (
	"net/http"
	"regexp"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// HeaderRequestID has the id of a request, in the request as in its answer.
const HeaderRequestID = "X-Request-Id"

var plainRequestID = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

// Identify gives each request an id by which its answer and the log can be matched. It is the caller's if that has 1 to 128 letters,
// digits and characters of ._:+/=- (UUIDs, ULIDs, trace ids and base64 have no others), and a new UUID otherwise. The id is repeated in a header,
// in problems and in log lines: so a longer one could fill the log, and any other text could say there what its caller likes.
func Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(HeaderRequestID)
		if !plainRequestID.MatchString(id) {
			id = uuid.NewString()
		}
		w.Header().Set(HeaderRequestID, id)
		next.ServeHTTP(w, r)
	})
}

// RequestID is the id of the request that w answers; "" without Identify.
func RequestID(w http.ResponseWriter) string { return w.Header().Get(HeaderRequestID) }

// LogRequestID is the log field of RequestID. Its key is that of internal/telemetry.
func LogRequestID(w http.ResponseWriter) zap.Field { return zap.String("requestId", RequestID(w)) }
