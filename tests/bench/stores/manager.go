//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/tests/bench/internal/measure"
	"storekeeper/tests/proctest"
)

// manager is cmd/storemanager in a process of its own.
type manager struct {
	*measure.Child
	client *storehttp.Client
}

func storeID(i int) string { return fmt.Sprintf("bench-%05d", i) }

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// startManager starts the store manager on the registry in the directory data, and does not wait until it answers. more are further
// settings.
func (b *bench) startManager(ctx context.Context, data, syncURL string, more ...string) (*manager, error) {
	address, err := proctest.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	client, err := storehttp.NewClient("http://"+address, httpclient.Fixed(token), nil)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	c, err := measure.StartChild(ctx, b.path("storemanager.log"), append([]string{
		"STORE_MANAGER_LISTEN=" + address, "STORE_DATA_PATH=" + data, "SERVER_BYPASS_TOKEN=" + token,
		"LIVESTORE_SYNC_URL=" + syncURL, "LIVESTORE_SYNC_MAX_DIALS=" + strconv.Itoa(maxDials),
	}, more...), b.manager)
	return &manager{c, client}, err
}

// ensure makes n stores monitored.
func (m *manager) ensure(ctx context.Context, n int) error {
	for first := 0; first < n; first += storemanager.MaxBatch {
		var batch []storemanager.EnsureRequest
		for i := first; i < min(n, first+storemanager.MaxBatch); i++ {
			batch = append(batch, storemanager.EnsureRequest{StoreID: storeID(i), At: time.Now()})
		}
		results, err := m.client.EnsureBatch(ctx, batch)
		if err != nil {
			return err
		}
		for _, r := range results {
			if r.Outcome != storemanager.EnsureCreated {
				return fmt.Errorf("the ensure of a new store answered %q", r.Outcome)
			}
		}
	}
	return nil
}

// answers waits until the store manager answers.
func (m *manager) answers(ctx context.Context) error {
	_, err := m.await(ctx, m.Started, func(storemanager.Overview) bool { return true })
	return err
}

// connected waits until exactly n stores are monitored and all of them are connected. It returns how long after since that was.
func (m *manager) connected(ctx context.Context, n int, since time.Time) (seconds float64, err error) {
	return m.await(ctx, since, func(o storemanager.Overview) bool {
		return o.Monitored == n && o.Connections[storemanager.ConnectionConnected] == n
	})
}

// await asks the store manager until the answer is the one that is wanted.
func (m *manager) await(ctx context.Context, since time.Time, wanted func(storemanager.Overview) bool) (seconds float64, err error) {
	limit := time.NewTimer(tooLong)
	defer limit.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		o, err := m.client.Overview(ctx) // this fails until the store manager listens
		if err == nil && wanted(o) {
			return time.Since(since).Seconds(), nil
		}
		select {
		case <-again.C:
		case <-m.Ended:
			return 0, m.Gone()
		case <-limit.C:
			return 0, errors.Join(fmt.Errorf("after %s the store manager still says %v", tooLong, o.Connections), err)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
