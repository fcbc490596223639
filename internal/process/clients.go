package process

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/client"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
)

// Clients are the connections of a role that runs apart from the others. None of them is used before it is needed, so a
// process starts while the other sides are away.
type Clients struct {
	Temporal  client.Client
	Namespace string
	Manager   *storehttp.Client
	// AuthWorker is nil without AUTH_WORKER_INTERNAL_URL. It is for names; how the lists go, the workers' own clients know.
	AuthWorker *authclient.Client
}

// Clients makes the connections that the settings name. Close Temporal when done.
func (p *Process) Clients() (Clients, error) {
	var c Clients
	var err error
	if c.Manager, err = storehttp.NewClient(string(p.Config.StoreManagerURL), p.Config.BypassToken, nil); err != nil {
		return c, fmt.Errorf("STORE_MANAGER_URL: %w", err)
	}
	called := p.Sentry.Watch(telemetry.SideStoreManager)
	c.Manager.Tell(func(err error) { called(err, errors.Is(err, storemanager.ErrUnauthorized)) })
	if url := string(p.Config.AuthWorkerURL); url != "" {
		if c.AuthWorker, err = authclient.New(authclient.Options{BaseURL: url, Token: p.Config.BypassToken}); err != nil {
			return c, fmt.Errorf("AUTH_WORKER_INTERNAL_URL: %w", err)
		}
	}
	c.Temporal, c.Namespace, err = p.dialTemporal()
	return c, err
}

// AuthWorker makes the process's one client of the Auth Worker at the URL, whose lists show in the metrics. spillDir is
// authclient.Options.SpillDir.
func (p *Process) AuthWorker(url, spillDir string) (*authclient.Client, error) {
	called := p.Sentry.Watch(telemetry.SideAuthWorker)
	c, err := authclient.New(authclient.Options{
		BaseURL: url, Token: p.Config.BypassToken, ListMaxAge: p.Config.AuthListMaxAge, SpillDir: spillDir,
		Ended: func(err error) {
			refused := errors.Is(err, authclient.ErrUnauthorized)
			if refused {
				p.Metrics.TokenRefused(telemetry.RefusedByAuthWorker)
			}
			called(err, refused)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("AUTH_WORKER_INTERNAL_URL: %w", err)
	}
	p.Metrics.RegisterAuthLists(func() telemetry.AuthLists {
		s := c.Status()
		lists := telemetry.AuthLists{ListAt: s.ListAt, Failing: s.Err != nil, Ended: map[string]int64{}}
		for _, outcome := range authclient.Outcomes() {
			lists.Ended[string(outcome)] = s.Ended[outcome]
		}
		return lists
	})
	return c, nil
}
