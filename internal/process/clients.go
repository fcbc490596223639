package process

import (
	"fmt"

	"go.temporal.io/sdk/client"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
)

// Clients are the connections of a role that runs apart from the others. None of them is used before it is needed, so a
// process starts while the other sides are away.
type Clients struct {
	Temporal   client.Client
	Namespace  string
	Manager    *storemanager.Client
	AuthWorker *authclient.Client
}

// Clients makes the connections that the settings name. Close Temporal when done.
func (p *Process) Clients() (Clients, error) {
	var c Clients
	var err error
	if c.Manager, err = storemanager.NewClient(string(p.Config.StoreManagerURL), string(p.Config.BypassToken), nil); err != nil {
		return c, fmt.Errorf("STORE_MANAGER_URL: %w", err)
	}
	c.AuthWorker, err = authclient.New(authclient.Options{
		BaseURL: string(p.Config.AuthWorkerURL), Token: string(p.Config.BypassToken), ListMaxAge: p.Config.AuthListMaxAge,
	})
	if err != nil {
		return c, fmt.Errorf("AUTH_WORKER_INTERNAL_URL: %w", err)
	}
	p.Metrics.RegisterAuthList(c.AuthWorker.LastListAt)
	c.Temporal, c.Namespace, err = p.dialTemporal()
	return c, err
}
