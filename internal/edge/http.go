package edge

import (
	"cmp"
	"context"
	"net/http"

	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/telemetry"
)

// answerPanic tells an operator what happened, and the caller nothing.
func (s *Server) answerPanic(w http.ResponseWriter, r *http.Request, err error) {
	s.frequent.Error("request panicked", httpserver.LogRequestID(w), zap.String("method", r.Method), zap.Error(err), zap.Stack("stack"))
	s.sentry.Capture(context.WithoutCancel(r.Context()), err, telemetry.Operation{Name: "http", Kind: telemetry.KindOfPanic()})
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

// caller returns who sent the request, and whether it brings a token at all that is accepted.
func (s *Server) caller(r *http.Request) (httpserver.Caller, bool) {
	return tokens(s.config).Caller(cmp.Or(httpserver.Bearer(r), r.Header.Get("X-Server-Token")))
}

func (s *Server) authorized(r *http.Request) bool {
	_, known := s.caller(r)
	return known
}

// tokens are those that the edge accepts.
func tokens(c *config.Config) httpserver.Tokens {
	var t httpserver.Tokens
	for _, token := range c.BypassTokens {
		t.Add(string(token), httpserver.Caller{})
	}
	for _, o := range c.Operators {
		for _, token := range o.Tokens {
			t.Add(string(token), httpserver.Caller{Name: o.Name, ReadOnly: o.ReadOnly})
		}
	}
	return t
}
