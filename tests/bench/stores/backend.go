//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"storekeeper/internal/demo"
	"storekeeper/tests/bench/internal/measure"
)

// backendMode is the first argument of a child that is a sync backend. The address and the database follow; the database may be empty.
const backendMode = "backend"

// backend is the demo sync backend in a process of its own.
type backend struct {
	*measure.Child
	url string
}

// backendStats is what the child answers when it is asked.
type backendStats struct {
	Connections    int `json:"connections"`
	PeakHandshakes int `json:"peakHandshakes"` // since it was last asked
}

// startBackend returns once the backend answers. Without a database the backend keeps events in memory.
func (b *bench) startBackend(ctx context.Context, address, database string) (*backend, error) {
	c, err := measure.StartSelf(ctx, b.dir, backendMode, address, database)
	if err != nil {
		return nil, err
	}
	url, err := c.Line()
	return &backend{c, url}, err
}

func (k *backend) stats() (s backendStats, err error) {
	if _, err := fmt.Fprintln(k.Stdin, "stats"); err != nil {
		return s, k.Gone()
	}
	line, err := k.Line()
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(line), &s)
}

// serveBackend is the child. It prints its URL, answers each line of its standard input with statistics, and ends when its standard input
// does.
func serveBackend(ctx context.Context, address, database string) error {
	k, err := demo.StartSyncBackend(ctx, demo.SyncBackendOptions{Listen: address, DatabasePath: database, Token: token})
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if _, err := fmt.Fprintln(os.Stdout, k.URL()); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := out.Encode(backendStats{k.Connections(), k.PeakHandshakes()}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return k.Stop(ctx)
}
