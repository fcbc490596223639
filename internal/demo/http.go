package demo

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/httpserver"
)

const maxBody = 64 << 10

// handler answers a request, or returns the reason why not: a *refusal for the caller, any other error for the log.
type handler func(http.ResponseWriter, *http.Request) error

// refusal is an error that the caller is told.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, message string) error { return &refusal{status, message} }

func (a *AuthWorker) endpoint(write func(http.ResponseWriter, int, string), h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		var known *refusal
		switch {
		case err == nil:
		case errors.As(err, &known):
			write(w, known.status, known.message)
		default:
			a.log.Error("demo auth worker failed", zap.String("path", r.URL.Path), zap.Error(err))
			write(w, http.StatusInternalServerError, "Internal server error")
		}
	}
}

func writeError(w http.ResponseWriter, status int, message string) {
	httpserver.WriteJSON(w, status, map[string]any{"success": false, "error": map[string]string{"message": message}})
}

func writeInternalError(w http.ResponseWriter, status int, message string) {
	httpserver.WriteJSON(w, status, map[string]string{"error": message})
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "Request body too large")
	case err != nil:
		return refuse(http.StatusBadRequest, "Invalid JSON")
	}
	return nil
}

// bearer is the token that a request brings. It is not httpserver.Bearer, which is our own servers' rule: this one stands in for another system,
// and a scheme in another case, which the real one may refuse, must not pass in tests.
func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// rateLimiter counts the requests of each address in windows of a minute, as the real one does.
type rateLimiter struct {
	perMinute int // 0: no limit

	mu     sync.Mutex
	since  time.Time
	counts map[string]int
}

func (l *rateLimiter) allow(address string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil || now.Sub(l.since) >= time.Minute {
		l.since, l.counts = now, map[string]int{}
	}
	l.counts[address]++
	return l.counts[address] <= l.perMinute
}

func (a *AuthWorker) limitRate(next http.Handler) http.Handler {
	if a.limiter.perMinute == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr) // the server itself wrote it
		if !a.limiter.allow(host, time.Now()) {
			writeError(w, http.StatusTooManyRequests, "Too many requests")
			return
		}
		next.ServeHTTP(w, r)
	})
}
