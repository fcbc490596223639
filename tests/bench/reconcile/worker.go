//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"storekeeper/internal/authclient"
	"storekeeper/internal/config"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager/storetest"
	"storekeeper/internal/telemetry"

	roles "storekeeper/internal/worker"
	"storekeeper/tests/bench/internal/measure"
)

// workerMode is the first argument of a child that is the worker. The workerArgs follow.
const workerMode = "worker"

type workerArgs struct {
	temporal   string // address
	authWorker string // URL
	registry   string // path
	profile    string // path of a directory; "" for none
}

// worker is the worker in a process of its own, with the registry in it.
type worker struct{ *measure.Child }

// startWorker returns once the worker polls. Its list has n workspaces.
func (b *bench) startWorker(ctx context.Context, n int, name, registry string) (*worker, error) {
	profile := ""
	if b.profile != "" {
		profile = filepath.Join(b.profile, name+".cpu")
	}
	c, err := measure.StartSelf(ctx, b.dir, workerMode, b.temporal, b.lists+"/"+strconv.Itoa(n), registry, profile)
	if err != nil {
		return nil, err
	}
	if _, err := c.Line(); err != nil {
		return nil, err
	}
	return &worker{c}, nil
}

// work is the child. It prints a line when it polls. Each line of its standard input is the number of workspaces that there must be; it
// answers with how many seconds it took to fetch and sort the list. It ends when its standard input does.
func work(ctx context.Context, args workerArgs) (err error) {
	cfg, err := config.Load([]string{
		"AUTH_WORKER_INTERNAL_URL=" + args.authWorker, "SERVER_BYPASS_TOKEN=" + token,
		"STORE_MANAGER_URL=http://127.0.0.1", // never asked: the registry is in this process
		"WORKSPACE_RECONCILE_ENABLED=false",  // only this benchmark starts runs
	}, config.RoleWorker)
	if err != nil {
		return err
	}
	registry, err := storetest.TryOpen(ctx, storetest.Settings{Path: args.registry})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	auth, err := authclient.New(authclient.Options{BaseURL: args.authWorker, Token: httpclient.Fixed(token)})
	if err != nil {
		return err
	}
	log := zap.NewNop()
	metrics, err := telemetry.NewMetrics(log)
	if err != nil {
		return err
	}
	temporal, err := client.Dial((&process.Process{Config: cfg, Log: log, Metrics: metrics}).TemporalOptions(client.Options{HostPort: args.temporal}))
	if err != nil {
		return err
	}
	defer temporal.Close()
	if args.profile != "" {
		stop, err := startProfile(args.profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var role errgroup.Group
	role.Go(func() error {
		return roles.Run(ctx, roles.Options{
			Temporal: temporal, Namespace: client.DefaultNamespace, Manager: registry, AuthWorker: auth, Config: cfg, Log: log,
			Metrics: metrics, Ready: func() { _, _ = fmt.Fprintln(os.Stdout, "ready") },
		})
	})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := fetchOnce(ctx, auth, in.Text()); err != nil {
			return err
		}
	}
	cancel()
	return role.Wait()
}

func fetchOnce(ctx context.Context, auth *authclient.Client, want string) error {
	start := time.Now()
	list, err := auth.Sorted(ctx, nil)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if err := list.Close(); err != nil {
		return err
	}
	if strconv.Itoa(list.Entries) != want {
		return fmt.Errorf("the list has %d entries instead of %s", list.Entries, want)
	}
	_, err = fmt.Fprintln(os.Stdout, took.Seconds())
	return err
}

func startProfile(path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
