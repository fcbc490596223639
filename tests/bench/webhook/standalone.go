//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"storekeeper/tests/bench/internal/measure"
)

// settled is how long a creation that was answered 202 may take to show.
const settled = time.Minute

// standalone is cmd/standalone in a process of its own.
type standalone struct {
	*measure.Child
	url      string // URL of the edge
	temporal string // address of Temporal
}

// startStandalone returns once webhooks would be processed. Its log goes to a file. The rate limit is off, because one address sends
// everything here.
func (b *bench) startStandalone(ctx context.Context, binary, authWorker, dir string, settings []string, flags ...string) (*standalone, error) {
	c, err := measure.StartChild(ctx, dir+".log", append([]string{
		"AUTH_WORKER_INTERNAL_URL=" + authWorker, "SERVER_BYPASS_TOKEN=" + token, "WEBHOOK_SECRET=" + secret + "," + key,
		"WEBHOOK_RATE_LIMIT=0",
		"WORKSPACE_RECONCILE_ENABLED=false", // it would find only orphans
		"TMPDIR=" + b.dir,
	}, settings...), binary, append([]string{
		"--data-dir", dir, "--listen", "127.0.0.1:0", "--temporal-listen", "127.0.0.1:0", "--ui-listen", "",
	}, flags...)...)
	if err != nil {
		return nil, err
	}
	s := &standalone{Child: c}
	for s.url == "" || s.temporal == "" { // the banner has a line for each
		line, err := c.Line()
		if err != nil {
			return nil, err
		}
		switch name, value, _ := strings.Cut(line, " "); name {
		case "webhooks":
			s.url = strings.TrimSuffix(strings.TrimSpace(value), "/webhooks/workspaces")
		case "Temporal":
			s.temporal = strings.TrimSpace(value)
		}
	}
	return s, nil
}

// lost counts the stores that the standalone still does not know after the time that they have.
func (s *standalone) lost(ctx context.Context, want []string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		stores, err := s.stores(ctx)
		if err != nil {
			return 0, err
		}
		missing := 0
		for _, id := range want {
			if !stores[id] {
				missing++
			}
		}
		if missing == 0 {
			return 0, nil
		}
		select {
		case <-again.C:
		case <-s.Ended:
			return 0, s.Gone()
		case <-ctx.Done():
			return missing, nil
		}
	}
}

// stores pages through GET /stores.
func (s *standalone) stores(ctx context.Context) (map[string]bool, error) {
	stores := map[string]bool{}
	httpClient := &http.Client{Timeout: 30 * time.Second}
	for cursor := ""; ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/stores?limit=1000&cursor="+url.QueryEscape(cursor), http.NoBody)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := httpClient.Do(req)
		if err != nil {
			return nil, err
		}
		var page struct {
			Stores []struct {
				ID string `json:"id"`
			} `json:"stores"`
			NextCursor string `json:"nextCursor"`
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, errors.Join(fmt.Errorf("GET /stores answered %s", resp.Status), err)
		}
		for _, store := range page.Stores {
			stores[store.ID] = true
		}
		if cursor = page.NextCursor; cursor == "" {
			return stores, nil
		}
	}
}

// authWorker answers with a list of another workspace. Only re-checks read it.
type authWorker struct {
	*http.Server
	url string
}

func startAuthWorker(ctx context.Context) (*authWorker, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &authWorker{url: "http://" + l.Addr().String(), Server: &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"workspaces":[{"instanceId":"some-other","userId":"u"}],"metadata":{"totalUsers":1,"totalWorkspaces":1}}`))
		}),
	}}
	go func() { _ = a.Serve(l) }()
	return a, nil
}
