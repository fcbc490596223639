package edge

import (
	"cmp"
	"context"
	"net/http"

	"go.uber.org/zap"

	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
)

// answerPanic tells an operator what happened, and the caller nothing.
func (s *Server) answerPanic(w http.ResponseWriter, r *http.Request, err error) {
	s.frequent.Error("request panicked", httpserver.LogRequestID(w), zap.String("method", r.Method), zap.Error(err), zap.Stack("stack"))
	s.sentry.Capture(context.WithoutCancel(r.Context()), err, telemetry.Operation{Name: "http"})
	problem.Write(w, problem.KindInternal, "Internal server error")
}

// harden keeps answers out of caches, and from being taken for anything but what they say they are.
func harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// authorized says whether the request brings the token.
func (s *Server) authorized(r *http.Request) bool {
	return s.token.Is(cmp.Or(httpserver.Bearer(r), r.Header.Get("X-Server-Token")))
}
