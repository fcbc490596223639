package manager

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/doctor"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
)

const (
	// examineTimeout bounds the store manager's own checks.
	examineTimeout = 4 * time.Second
	// filesBeside is how many open files the store manager needs beside the subscriptions of its stores.
	filesBeside = 256
	// strangerID names a store for a handshake when none is monitored.
	strangerID = "starter-doctor"
)

// Examine checks the registry, its files, and those that the store manager talks to. Nothing is changed: the sync backend is dialled and
// not subscribed to, and the sink gets a HEAD without events.
func (m *Manager) Examine(ctx context.Context) (storemanager.Examination, error) {
	findings := doctor.Run(ctx, "store manager", examineTimeout, []doctor.Check{
		{Name: "registry", Do: m.examineRegistry},
		{Name: "files", Do: m.examineFiles},
		{Name: "open files", Do: m.examineOpenFiles},
		{Name: "sync backend", Do: m.examineSync},
		{Name: "sink", Do: m.examineSink},
	})
	return storemanager.Examination{Time: time.Now().UTC(), Version: build.Version, Findings: findings}, nil
}

func (m *Manager) examineRegistry(ctx context.Context) doctor.Result {
	if err := m.Ping(ctx); err != nil {
		return doctor.Failed(err.Error(), "look at the disk (room, permissions) and at the log of the store manager; with STORE_MANAGER_KIND=node "+
			"also at NODE_SERVER_URL and NODE_SERVER_WEBHOOK_SECRET")
	}
	o, err := m.Overview(ctx)
	switch {
	case err != nil:
		return doctor.Failed("it can't be counted", "look at the log of the store manager")
	case o.Loss() != nil:
		return doctor.Failed("it was lost: "+o.Loss().Reason, "put the holds back, then: starter acknowledge --reason …")
	}
	return doctor.OK("it can be read and written")
}

func (m *Manager) examineFiles(context.Context) doctor.Result {
	if m.path == "" {
		return doctor.OK("it is in memory")
	}
	mark := filepath.Join(filepath.Dir(m.path), "registry-mark-of-"+filepath.Base(m.path))
	return doctor.Private(m.path, m.path+"-wal", m.path+"-shm", mark)
}

func (m *Manager) examineOpenFiles(ctx context.Context) doctor.Result {
	o, err := m.Overview(ctx)
	if err != nil {
		return doctor.Unknown("how many stores there are is not known", "")
	}
	return doctor.OpenFiles(o.Monitored + filesBeside)
}

func (m *Manager) examineSync(ctx context.Context) doctor.Result {
	id := strangerID
	if page, err := m.List(ctx, storemanager.ListRequest{Limit: 1}); err == nil && len(page.Stores) > 0 {
		id = page.Stores[0].ID
	}
	url := m.config.StoreSyncURL(id)
	switch {
	case m.config.StoreManagerKind == config.KindNode:
		return doctor.OK("the Node server has its own")
	case url == "":
		return doctor.Failed("stores have no sync backend, so none is connected", "set LIVESTORE_SYNC_URL for the store manager")
	}
	conn, err := livestore.Dial(ctx, livestore.Options{
		URL: url, StoreID: id, Payload: map[string]string{"serverBypass": m.config.BypassToken(), "instanceId": id},
	})
	var dial *livestore.DialError
	switch {
	case errors.As(err, &dial) && dial.Status/100 == 4:
		return doctor.Failed(err.Error(), "SERVER_BYPASS_TOKEN of the store manager must be the sync backend's, and LIVESTORE_SYNC_URL must have its path")
	case err != nil:
		return doctor.Failed(err.Error(), "check LIVESTORE_SYNC_URL, that the sync backend runs, and the proxies (NO_PROXY)")
	}
	_ = conn.Close() // it was only to be opened
	return doctor.OK("it takes the handshake")
}

func (m *Manager) examineSink(ctx context.Context) doctor.Result {
	url := string(m.config.EventSinkURL)
	if url == "" {
		return doctor.OK("there is none: events are only logged")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, http.NoBody)
	if err != nil {
		return doctor.Failed("its URL can't be asked", "correct EVENT_SINK_URL")
	}
	transport := httpclient.Transport()
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: httpclient.Through(transport), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return doctor.Failed("it can't be reached", "check EVENT_SINK_URL, that the sink runs, and the proxies (NO_PROXY)")
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError && resp.StatusCode != http.StatusNotImplemented {
		return doctor.Failed("it answers "+resp.Status, "look at the sink: its events wait")
	}
	return doctor.OK("it answers")
}
