package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	uiapi "github.com/temporalio/ui-server/v2/server/api"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/csrf"
	"github.com/temporalio/ui-server/v2/server/headers"
	uiroute "github.com/temporalio/ui-server/v2/server/route"
	uiassets "github.com/temporalio/ui-server/v2/ui"
	"go.uber.org/zap"

	"storekeeper/internal/ownhost"
)

// ui is the Web UI, with its own listener.
type ui struct {
	server *http.Server
	addr   string
	served chan struct{} // closed when the server's goroutine has ended
}

// startUI returns the UI once it accepts connections. The frontend must serve by then: the UI connects to it at once, and would wait a
// second or more before it tries again.
func startUI(ctx context.Context, o Options, frontend string) (*ui, error) {
	handler, err := uiHandler(frontend, o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("temporal web ui: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.UIListen)
	if err != nil {
		return nil, fmt.Errorf("temporal web ui: %w", err)
	}
	u := &ui{addr: listener.Addr().String(), served: make(chan struct{})}
	u.server = &http.Server{
		// Everybody who reaches it may read all workflows and end them. A page that is open in a browser must not.
		Handler:           ownhost.New(o.UIListen, o.UIHosts...).Handler(handler),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: zap.NewStdLog(o.Logger),
	}
	go func() {
		defer close(u.served)
		if err := u.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("temporal web ui stopped serving", zap.Error(err))
		}
	}()
	return u, nil
}

// uiHandler returns the handler that the library's own server would serve. That server brings its own listener, which answers requests for
// every host.
func uiHandler(frontend, namespace string) (http.Handler, error) {
	provider, err := uiconfig.NewConfigProviderWithRefresh(&uiconfig.Config{
		TemporalGRPCAddress: frontend,
		DefaultNamespace:    namespace,
		EnableUI:            true,
		// Neither the server nor the browser sends requests to any other host.
		DisableNewsFetch:   true,
		NotifyOnNewVersion: false,
		// The UI is served over plain HTTP.
		CORS: uiconfig.CORS{CookieInsecure: true},
	})
	if err != nil {
		return nil, err
	}
	assets, err := uiassets.Assets()
	if err != nil {
		return nil, err
	}
	if assets, err = fs.Sub(assets, "local"); err != nil {
		return nil, err
	}
	const cookieSecure = false
	e := echo.New()
	e.Use(middleware.Recover(), middleware.Gzip(), middleware.Secure(),
		csrf.EnsureTokenCookie(cookieSecure), middleware.CSRFWithConfig(csrf.MiddlewareConfig(provider, cookieSecure)))
	uiroute.SetHealthRoute(e)
	if err := uiroute.SetAPIRoutes(e, provider, []uiapi.Middleware{headers.WithForwardHeaders([]string{"Caller-Type"})}); err != nil {
		return nil, err
	}
	if err := uiroute.SetUIRoutes(e, "", assets, provider); err != nil {
		return nil, err
	}
	uiroute.SetRenderRoute(e, "/")
	return e, nil
}

// stop ends the UI and what it serves.
func (u *ui) stop() {
	_ = u.server.Close() // no request is worth waiting for
	<-u.served
}
