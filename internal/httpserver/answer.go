package httpserver

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
)

// WriteJSON answers with body as JSON, which must be fit for it.
func WriteJSON(w http.ResponseWriter, status int, body any) {
	write(w, status, "application/json", body)
}

// WriteProblem answers with an RFC 9457 problem. Each server has a type of its own for it: the edge's repeats its detail as "error", the
// store manager's has a code.
func WriteProblem(w http.ResponseWriter, status int, problem any) {
	write(w, status, "application/problem+json", problem)
}

func write(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // it fails only when the caller has gone
}

// SetRetryAfter says when a repeat is worth it. It rounds up: the header counts whole seconds.
func SetRetryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
}

// MethodNotAllowed sets Allow to the methods that routes have for the path, and has refuse answer 405. With head, HEAD is allowed where GET
// is: routes with middleware.GetHead serve it, and don't name it.
func MethodNotAllowed(routes chi.Routes, head bool, refuse http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range Allowed(routes, r) {
			w.Header().Add("Allow", method)
			if head && method == http.MethodGet {
				w.Header().Add("Allow", http.MethodHead)
			}
		}
		refuse(w, r)
	}
}

// Recover has answer answer a request whose handler panicked, while the stack is still that of the panic. http.ErrAbortHandler is left to
// net/http.
func Recover(answer func(w http.ResponseWriter, r *http.Request, panicked error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				cause := recover()
				if cause == nil {
					return
				}
				if cause == http.ErrAbortHandler { //nolint:errorlint // the server itself compares it like this
					panic(cause)
				}
				answer(w, r, fmt.Errorf("panic: %v", cause))
			}()
			next.ServeHTTP(w, r)
		})
	}
}
