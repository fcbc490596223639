package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

// runStandalone is cmd/standalone with addresses picked by the kernel, told on standard output as JSON.
func runStandalone() {
	environ, _ := standalone.DemoEnviron(os.Environ())
	process.Main(process.Command(process.Options{
		Use: "standalone", Role: config.RoleStandalone,
		Environ: func() ([]string, error) { return environ, nil },
		Run: func(ctx context.Context, p *process.Process) error {
			return standalone.Run(ctx, p, standalone.Options{
				Demo: true, DataDir: os.Getenv("STOREKEEPER_TEST_DATA_DIR"),
				Restore: manager.Restore{From: os.Getenv(restoreFrom), SetAside: os.Getenv(restoreFrom) != ""},
				Listen:  "127.0.0.1:0", TemporalListen: "127.0.0.1:0", AuthListen: "127.0.0.1:0",
				Ready: func(sys *standalone.System) {
					_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"edge": sys.EdgeURL, "auth": sys.AuthURL, "temporal": sys.TemporalAddress})
				},
			})
		},
	}))
}

// child is an installation in a process of its own, which can be killed.
type child struct {
	*harness.Installation
	process *proctest.Child
}

func startChild(t *testing.T, dir string, settings ...string) *child {
	t.Helper()
	cmd := proctest.Self(t.Context(), append([]string{
		"STOREKEEPER_TEST_RUN_STANDALONE=1", "STOREKEEPER_TEST_DATA_DIR=" + dir, "WORKSPACE_RECONCILE_INTERVAL_MS=86400000", "WEBHOOK_WAIT=20s",
	}, settings...))
	cmd.Stderr = &proctest.Log{}
	p := proctest.Start(t, cmd)
	var where struct{ Edge, Auth, Temporal string }
	require.NoError(t, json.Unmarshal([]byte(p.Line()), &where))
	return &child{process: p, Installation: &harness.Installation{
		T: t, System: &standalone.System{EdgeURL: where.Edge, AuthURL: where.Auth, TemporalAddress: where.Temporal},
	}}
}

// kill is kill -9.
func (c *child) kill() { c.process.Kill() }

func TestADeletionHappensAtItsTimeAlthoughTheProcessIsKilledInTheMiddleOfTheGracePeriod(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startChild(t, dir, "DELETION_GRACE_PERIOD=6s")
	user := first.SignUp()
	id := user.Create()
	first.Eventually("monitored", func() bool { return first.Monitored(id) })
	user.Delete(id)
	first.Eventually("pending", func() bool { return first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion") != nil })
	deleteAt, err := time.Parse(time.RFC3339, first.Edge(http.MethodGet, "/stores/"+id).JSON("deletion.deleteAt").(string))
	require.NoError(t, err)
	first.kill()

	second := startChild(t, dir, "DELETION_GRACE_PERIOD=6s")
	require.True(t, second.Monitored(user.Default), "what was monitored is monitored again")
	second.Eventually("stopped", func() bool {
		return second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status") == "stopped"
	})
	stopped, err := time.Parse(time.RFC3339, second.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.lastStoppedAt").(string))
	require.NoError(t, err)
	require.False(t, stopped.Before(deleteAt), "stopped at %s, the grace period ended at %s", stopped, deleteAt)
}

func TestEveryEventThatWasAnsweredTakesEffectAlthoughTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startChild(t, dir, "WEBHOOK_WAIT=0s") // each is answered before its outcome is known
	var answered []string
	for i := range 30 {
		id := uuid.NewString()
		if r := first.Webhook("workspace.created", id, time.Now()); r.Code == http.StatusAccepted {
			answered = append(answered, id)
		} else {
			t.Fatalf("event %d: %d %s", i, r.Code, r.Body)
		}
	}
	first.kill()
	second := startChild(t, dir)
	for _, id := range answered {
		second.Eventually(fmt.Sprintf("%s is monitored", id), func() bool { return second.Monitored(id) })
	}
}

func TestTheProcessEndsGracefullyOnASignal(t *testing.T) {
	t.Parallel()
	c := startChild(t, t.TempDir())
	started := time.Now()
	require.NoError(t, c.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, c.process.Wait(), "exit code 0")
	require.Less(t, time.Since(started), 10*time.Second)
}

// runWorker is cmd/worker.
func runWorker() {
	environ, _ := standalone.DemoEnviron(os.Environ())
	process.Main(process.Command(process.Options{
		Use: "worker", Role: config.RoleWorker,
		Environ: func() ([]string, error) { return environ, nil },
		Run:     func(ctx context.Context, p *process.Process) error { return harness.RunWorker(ctx, p) },
	}))
}

// startWorkerProcess starts a worker in a process of its own; kill is kill -9, and returns when it is dead.
func (s *split) startWorkerProcess(t *testing.T, settings ...string) (kill func()) {
	t.Helper()
	return proctest.StartSelf(t, append(settings, "STOREKEEPER_TEST_RUN_WORKER=1", "WORKSPACE_RECONCILE_INTERVAL_MS=86400000",
		"TEMPORAL_ADDRESS="+s.address, "STORE_MANAGER_URL="+s.managerURL, "AUTH_WORKER_INTERNAL_URL="+s.authURL)...).Kill
}

func TestAWorkerThatIsKilledIsMissedLongBeforeItsPollWouldHaveEnded(t *testing.T) {
	t.Parallel()
	s := startSplit(t)
	kill := s.startWorkerProcess(t)
	service := s.client.WorkflowService()
	s.Eventually("its second heartbeat", func() bool {
		list, err := service.ListWorkers(t.Context(), &workflowservice.ListWorkersRequest{Namespace: client.DefaultNamespace})
		if err != nil || len(list.GetWorkers()) == 0 {
			return false
		}
		w, err := service.DescribeWorker(t.Context(), &workflowservice.DescribeWorkerRequest{
			Namespace: client.DefaultNamespace, WorkerInstanceKey: list.GetWorkers()[0].GetWorkerInstanceKey(),
		})
		return err == nil && w.GetWorkerInfo().GetWorkerHeartbeat().GetElapsedSinceLastHeartbeat() != nil
	})
	s.Eventually("healthy", func() bool { return s.Do(http.MethodGet, s.EdgeURL+"/health", "").Code == http.StatusOK })
	kill()
	killed := time.Now()
	s.Eventually("missed", func() bool {
		return strings.Contains(s.Do(http.MethodGet, s.EdgeURL+"/health", "").Body, "workers: no worker polls the task queue; the last one was heard of at")
	})
	t.Logf("missed %s after the kill", time.Since(killed).Round(100*time.Millisecond))
}

func TestAnotherWorkerGoesOnWithARepairInWhoseMiddleTheFirstIsKilled(t *testing.T) {
	t.Parallel()
	const (
		missing = 3000
		unsure  = 1000 // the batch under way, and what was done since Temporal was told the last time
	)
	s := withList(t, startSplit(t), missing, &longList{})
	kill := s.startWorkerProcess(t)
	run, err := s.Orchestrator.JoinReconcile(t.Context(), reconcileInput)
	require.NoError(t, err)
	s.Eventually("the repair is in the middle, as far as Temporal knows", func() bool {
		progress, err := s.Orchestrator.ReconcileProgress(t.Context(), run)
		return err == nil && progress != nil && progress.Phase == contract.PhaseEnsure && progress.Done > missing/2
	})
	kill()
	before := monitored(t, s.Stores)
	require.Less(t, len(before), missing, "it was not in the middle any more")

	s.startWorker(t)
	report, err := run.Wait(t.Context()) // Temporal misses the heartbeats of the dead worker first
	require.NoError(t, err)
	require.Equal(t, missing, report.Added, "each counts once, whoever added it")
	require.Equal(t, 1, report.Rounds)
	require.Zero(t, report.FailedAdds+report.Adopted+report.Stale)
	o, err := s.Stores.Overview(t.Context())
	require.NoError(t, err)
	require.Equal(t, missing, o.Monitored)
	require.EqualValues(t, missing, o.TotalProvisioned, "no store twice")
	twice := 0
	for id, store := range monitored(t, s.Stores) {
		if was, is := before[id]; is {
			require.Equal(t, was.FirstMonitoredAt, store.FirstMonitoredAt, "what the first worker did is lost")
		}
		if !store.LastEnsuredAt.Equal(*store.FirstMonitoredAt) {
			twice++
		}
	}
	require.LessOrEqual(t, twice, unsure, "it did not begin again")
}
