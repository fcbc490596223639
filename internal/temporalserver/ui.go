package temporalserver

import (
	"context"
	"fmt"
	"net"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
)

// startUI returns the UI and its address when it accepts connections. The frontend must serve by then: the UI connects to
// it at once, and would wait a second or more before it tries again.
func startUI(ctx context.Context, listen, frontend, namespace string) (*uiserver.Server, string, error) {
	// Right before it is used, because the UI ends the process when it can't listen.
	addr, err := reserve(ctx, listen)
	if err != nil {
		return nil, "", fmt.Errorf("temporal web ui: %w", err)
	}
	host := addr.Addr().String()
	if addr.Addr().Is6() {
		host = "[" + host + "]" // the UI puts host and port together as they are
	}
	ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host:                host,
		Port:                int(addr.Port()),
		TemporalGRPCAddress: frontend,
		DefaultNamespace:    namespace,
		EnableUI:            true,
		HideLogs:            true,
		// No request to any other host, neither from here nor from the browser.
		DisableNewsFetch:   true,
		NotifyOnNewVersion: false,
		// It is served by plain HTTP.
		CORS: uiconfig.CORS{CookieInsecure: true},
	}))
	go func() { _ = ui.Start() }() // its error is always nil
	dial := func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := poll(ctx, dial); err != nil {
		ui.Stop()
		return nil, "", fmt.Errorf("start temporal web ui: %w", err)
	}
	return ui, addr.String(), nil
}
