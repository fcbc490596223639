package httpserver

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"storekeeper/internal/tracing"
)

const (
	// HeaderRequestID has the id of a request, in the request as in its answer.
	HeaderRequestID = tracing.HeaderRequestID
	// HeaderTraceResponse has the trace that a request was answered in, in the form of traceparent (W3C Trace Context, level 2).
	HeaderTraceResponse = "Traceresponse"
)

// Identify gives each request an id by which its answer and the log can be matched. It is the caller's if that is one
// (tracing.ValidRequestID), and a new UUID otherwise.
func Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(HeaderRequestID)
		if !tracing.ValidRequestID(id) {
			id = uuid.NewString()
		}
		w.Header().Set(HeaderRequestID, id)
		next.ServeHTTP(w, r)
	})
}

// RequestID is the id of the request that w answers; "" without Identify.
func RequestID(w http.ResponseWriter) string { return w.Header().Get(HeaderRequestID) }

// LogRequestID is what log lines have of the request that w answers: its id, and its trace once it is traced.
func LogRequestID(w http.ResponseWriter) zap.Field {
	_, rest, _ := strings.Cut(w.Header().Get(HeaderTraceResponse), "-")
	trace, _, _ := strings.Cut(rest, "-")
	return tracing.IDs(trace, RequestID(w))
}

// BeginTrace begins the span of a request that came at a time, and says so in the answer. Its context has the request's id and trace, but not
// its deadline: that is parent's.
func BeginTrace(parent context.Context, w http.ResponseWriter, r *http.Request, route string, at time.Time) (_ context.Context, end func(status int)) {
	ctx, end := tracing.Serve(tracing.WithRequestID(parent, RequestID(w)), r, route, at)
	if response := tracing.Response(ctx); response != "" {
		w.Header().Set(HeaderTraceResponse, response)
	}
	return ctx, end
}

// Trace has a request be a span of its own: one that may change something, and one whose caller says that it belongs to a trace. What is merely
// looked at, by a probe or a dashboard, begins no trace. It is for routes below Require: what strangers send is not traced.
func Trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if looks := r.Method == http.MethodGet || r.Method == http.MethodHead; looks && !tracing.FromCaller(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx, end := BeginTrace(r.Context(), w, r, route(r), time.Now())
		answer := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() { end(answer.Status()) }()
		next.ServeHTTP(answer, r.WithContext(ctx))
	})
}

// route is the pattern of the request's path; "" if no route has it.
func route(r *http.Request) string {
	routes := chi.RouteContext(r.Context())
	if routes == nil || routes.Routes == nil {
		return ""
	}
	return routes.Routes.Find(chi.NewRouteContext(), r.Method, cmp.Or(r.URL.RawPath, r.URL.Path))
}
