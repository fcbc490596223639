// Package demo holds stand-ins for the systems around Storekeeper, for trials and tests and not for production.
//
// AuthWorker is an Auth Worker in Go. It implements the public and the internal part of the real one's contract. Error bodies have the two
// shapes of the contract: {"error":"text"} from the handlers of /internal, and {"success":false,"error":{"message":"text"}} from all others
// and from the router (404, 405, 429). As in newer versions there is no GET /internal/users/:userId/instances.
//
// What a real administrator does behind the scenes has endpoints here that only the demo has. They require the token of /internal. As in
// the contract they send no webhook:
//
//	POST   /internal/admin/users/{userId}/instances {"instanceId":"…"}   adds a store id, any string, to a user's; an id that
//	                                                                     another user has already is then shared
//	DELETE /internal/admin/users/{userId}/instances?instanceId=…         takes it away again
//	DELETE /internal/admin/users/{userId}                                deletes a user
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"storekeeper/internal/httpserver"
	"storekeeper/internal/ownhost"
)

// AuthWorkerOptions configures a demo Auth Worker. BypassToken and WebhookSecret are required.
type AuthWorkerOptions struct {
	// Listen is a host:port; port 0 picks a free one. Empty means 127.0.0.1:0.
	Listen string
	// DatabasePath is the SQLite file of users and workspaces, created when missing. Empty keeps them in memory.
	DatabasePath string
	// WebhookURL is where events are sent. Empty sends none.
	WebhookURL string
	// WebhookSecret authenticates the events. It holds shared secrets and keys, as notifier.Options.Secret does.
	WebhookSecret string
	// NewestWebhookSecret returns it at each attempt. Nil: WebhookSecret.
	NewestWebhookSecret func() string
	// BypassToken is the bearer token of /internal.
	BypassToken string
	// BypassTokens returns those that /internal accepts, at each request. Nil: BypassToken alone.
	BypassTokens func() httpserver.Tokens
	// Logger may be nil.
	Logger *zap.Logger
	// RetryDelays are the pauses before the second and further attempts to deliver an event. Nil means 0.5 s and 1 s, which makes three
	// attempts.
	RetryDelays []time.Duration
	// RateLimitPerMinute bounds the requests of one address. It is 60 in production; 0 means no limit.
	RateLimitPerMinute int
}

// AuthWorker is a running demo Auth Worker.
type AuthWorker struct {
	store    *store
	notifier *sender
	faults   faults
	limiter  rateLimiter
	tokens   func() httpserver.Tokens
	log      *zap.Logger
	server   *httpserver.Server
	url      string
	served   chan struct{} // closed when the server's goroutine has ended
}

// StartAuthWorker opens the database and starts to serve. It answers requests by the time it returns. ctx bounds only the start.
func StartAuthWorker(ctx context.Context, o AuthWorkerOptions) (*AuthWorker, error) {
	if o.BypassToken == "" || o.WebhookSecret == "" {
		return nil, errors.New("the demo auth worker needs a bypass token and a webhook secret")
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.BypassTokens == nil {
		o.BypassTokens = httpserver.FixedTokens(o.BypassToken)
	}
	if o.NewestWebhookSecret == nil {
		o.NewestWebhookSecret = func() string { return o.WebhookSecret }
	}
	if o.RetryDelays == nil {
		o.RetryDelays = []time.Duration{500 * time.Millisecond, time.Second}
	}
	webhooks, err := newSender(context.WithoutCancel(ctx), o.WebhookURL, o.NewestWebhookSecret, o.RetryDelays, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("starting the demo auth worker: %w", err)
	}
	st, err := openStore(ctx, o.DatabasePath)
	if err != nil {
		return nil, fmt.Errorf("opening the demo auth worker's database: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the demo auth worker: %w", err), st.close())
	}
	a := &AuthWorker{
		store:    st,
		notifier: webhooks,
		faults:   faults{replaced: make(chan struct{})},
		limiter:  rateLimiter{perMinute: o.RateLimitPerMinute},
		tokens:   o.BypassTokens,
		log:      o.Logger,
		url:      "http://" + listener.Addr().String(),
		served:   make(chan struct{}),
	}
	// Its token may be the published one, so it checks where requests come from.
	a.server = httpserver.New(httpserver.Options{
		Handler:           httpserver.Prepare(ownhost.New(o.Listen).Handler(a.routes())),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxConnections:    1024,
		Log:               o.Logger,
	})
	go func() {
		defer close(a.served)
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("demo auth worker stopped serving", zap.Error(err))
		}
	}()
	return a, nil
}

// URL is where it answers, without a trailing slash.
func (a *AuthWorker) URL() string { return a.url }

// SetWebhookURL sends events to url from now on, and so do further attempts of events under way. Empty sends none.
func (a *AuthWorker) SetWebhookURL(url string) { a.notifier.setURL(url) }

// SetWebhooksLost makes all further events vanish, as if each of their attempts had failed.
func (a *AuthWorker) SetWebhooksLost(lost bool) { a.notifier.setLost(lost) }

// SetFault makes the list faulty until the next call; FaultNone makes it right again. A list that FaultSlow holds back is then released.
func (a *AuthWorker) SetFault(f Fault) { a.faults.set(f) }

// Stop waits for requests and events under way until ctx ends, drops the rest, and closes the database. It returns ctx's error if it had to
// drop something. Call it once.
func (a *AuthWorker) Stop(ctx context.Context) error {
	a.SetFault(FaultNone) // no slow list holds the shutdown up
	err := a.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, a.server.Close())
	}
	<-a.served
	return errors.Join(err, a.notifier.stop(ctx), a.store.close())
}

func (a *AuthWorker) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(a.limitRate)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { writeError(w, http.StatusNotFound, "Not found") })
	r.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusMethodNotAllowed, "Method not allowed")
	})

	public := func(h handler) http.HandlerFunc { return a.endpoint(writeError, h) }
	r.Post("/signup", public(a.signup))
	r.Post("/login", public(a.login))
	r.Get("/workspaces", public(a.listOwn))
	r.Post("/workspaces", public(a.create))
	r.Delete("/workspaces/{id}", public(a.remove))

	internal := func(h handler) http.HandlerFunc { return a.endpoint(writeInternalError, a.withToken(h)) }
	r.Get("/internal/workspaces", internal(a.listAll))
	r.Post("/internal/admin/users/{userId}/instances", internal(a.addInstance))
	r.Delete("/internal/admin/users/{userId}/instances", internal(a.removeInstance))
	r.Delete("/internal/admin/users/{userId}", internal(a.deleteUser))
	return r
}
