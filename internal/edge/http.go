package edge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
)

const requestIDHeader = "X-Request-Id"

// requestIDPattern is what may be repeated in answers and logs.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._:+/=-]{1,128}$`)

// retryLater is when a request is worth a repeat that a dependency's absence refused.
const retryLater = 5 * time.Second

// identify gives each request an id, the caller's where it has one, by which the log and the answer can be matched.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !requestIDPattern.MatchString(id) {
			id = uuid.NewString()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r)
	})
}

// requestID is the field of the request that w answers.
func requestID(w http.ResponseWriter) zap.Field {
	return zap.String(telemetry.KeyRequestID, w.Header().Get(requestIDHeader))
}

func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler { //nolint:errorlint // the server itself compares it like this
				panic(cause)
			}
			err := fmt.Errorf("panic: %v", cause)
			s.frequent.Error("request panicked", requestID(w), zap.String("method", r.Method), zap.Error(err), zap.Stack("stack"))
			s.sentry.Capture(context.WithoutCancel(r.Context()), err, telemetry.Operation{Name: "http"})
			writeProblem(w, kindInternal, "Internal server error")
		}()
		next.ServeHTTP(w, r)
	})
}

// harden keeps answers out of caches, and from being taken for anything but what they say they are.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range httpserver.Allowed(routes, r) {
			w.Header().Add("Allow", method)
			if method == http.MethodGet {
				w.Header().Add("Allow", http.MethodHead)
			}
		}
		writeProblem(w, kindMethodNotAllowed, "Method not allowed")
	}
}

// authorized says whether the request brings the token. It compares hashes, which are of one length, so that the time taken
// tells nothing about the token.
func (s *Server) authorized(r *http.Request) bool {
	token := r.Header.Get("X-Server-Token")
	if scheme, bearer, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(bearer)
	}
	hash := sha256.Sum256([]byte(token))
	return token != "" && subtle.ConstantTimeCompare(hash[:], s.tokenHash[:]) == 1
}

func (s *Server) requireToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.authorized(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, kindUnauthorized, "Unauthorized")
			return
		}
		httpserver.Trust(r.Context())
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // it fails only when the caller has gone
}
