package alerts_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"storekeeper/contract"
	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
	"storekeeper/internal/standalone"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// scene makes the conditions of alerts true on a running system.
type scene struct {
	// fire are the alerts that fire then, as NAME/SEVERITY.
	fire []string
	// hold is for how many minutes the rules are shown the last scrape; 0 is an hour.
	hold int
	// play returns a scrape of the system while all was well, nil where it never was, and what scrapes it while it is not. Both are asked again until
	// the alerts fire.
	play func(t *testing.T) (well *scrape, ill func() scrape)
}

func TestEachAlertFiresOnARunningSystem(t *testing.T) {
	t.Parallel()
	promtool(t)
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold := s.hold
			if hold == 0 {
				hold = 60
			}
			well, ill := s.play(t)
			for _, alert := range s.fire {
				alert, severity, _ := strings.Cut(alert, "/")
				var said string
				fires := func() (ok bool) {
					ok, said = shows(t, alert, severity, well, ill(), hold)
					return ok
				}
				for end := time.Now().Add(harness.Patience); !fires() && time.Now().Before(end); {
					<-time.After(100 * time.Millisecond)
				}
				require.Empty(t, failed(said), alert+"/"+severity)
			}
		})
	}
}

func TestASystemThatIsWellWakesNobody(t *testing.T) {
	t.Parallel()
	in, user, _ := whole(t)
	user.Delete(user.Create()) // and a deletion is pending
	in.SignUpSilently()
	require.NoError(t, reconcile(in)) // and a webhook was missed
	in.Eventually("the store that was missed is connected too", func() bool {
		o, err := in.Stores.Overview(t.Context())
		return err == nil && o.Monitored > 2 && o.Connections[storemanager.ConnectionConnected] == o.Monitored
	})
	well := of(in)()
	ok, said := evaluate(t, series(t, &well, well, 0, 1), 1, expectation{at: before - 1, over: before - 1, alerts: `alertstate=~".+"`})
	require.True(t, ok, said)
}

// failed is what promtool says of a failure.
func failed(said string) string {
	_, failure, _ := strings.Cut(said, "FAILED:")
	return failure
}

func TestEveryAlertHasASceneAndARunbook(t *testing.T) {
	t.Parallel()
	var played []string
	for _, s := range scenes {
		played = append(played, s.fire...)
	}
	slices.Sort(played)
	alerts := known(t)
	slices.Sort(alerts)
	require.Equal(t, slices.Compact(alerts), slices.Compact(played))

	var names []string
	for _, alert := range alerts {
		name, _, _ := strings.Cut(alert, "/")
		names = append(names, name)
		page := read(t, filepath.Join(root, "docs/runbooks", name+".md"))
		require.True(t, strings.HasPrefix(page, "# "+name+"\n"), name)
		last := 0
		for _, part := range []string{"\n## Meaning\n", "\n## Look here\n", "\n## Do this\n", "\n## Verify\n"} {
			at := strings.Index(page, part)
			require.Greater(t, at, last, "%s: %s", name, part)
			last = at
		}
		require.Contains(t, read(t, filepath.Join(root, "docs/runbooks/README.md")), "("+name+".md)")
	}
	for _, path := range glob(t, "docs/runbooks/Storekeeper*.md") {
		require.Contains(t, names, strings.TrimSuffix(filepath.Base(path), ".md"), "a runbook of no alert")
	}
}

// of scrapes a standalone.
func of(in *harness.Installation) func() scrape {
	url := in.EdgeURL + "/metrics"
	return func() scrape {
		in.T.Helper()
		at := time.Now()
		return parse(in.T, in.Do(http.MethodGet, url, "").Body, "it", at)
	}
}

// whole starts a standalone with two monitored stores, and scrapes it.
func whole(t *testing.T, settings ...string) (in *harness.Installation, user *harness.User, well *scrape) {
	t.Helper()
	in = harness.Start(t, settings...)
	user = in.SignUp()
	second := user.Create()
	in.Eventually("both are connected", func() bool {
		o, err := in.Stores.Overview(t.Context())
		return err == nil && in.Monitored(second) && o.Connections[storemanager.ConnectionConnected] == 2
	})
	s := of(in)()
	return in, user, &s
}

func reconcile(in *harness.Installation) error {
	run, err := in.Orchestrator.StartReconcile(in.T.Context(), contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true})
	if err != nil {
		return err
	}
	_, err = run.Wait(in.T.Context())
	return err
}

var scenes = map[string]scene{
	"events come two minutes late": {
		fire: []string{
			"StorekeeperProvisioningOverAMinute/page", "StorekeeperProvisioningOverAMinute/ticket", "StorekeeperProvisioningOver30Seconds/page",
			"StorekeeperProvisioningOver30Seconds/ticket", "StorekeeperProvisioningMean/ticket",
		},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in := harness.Start(t)
			well := of(in)()
			for range 4 {
				require.Equal(t, http.StatusOK, in.Webhook("workspace.created", uuid.NewString(), time.Now().Add(-2*time.Minute)).Code)
			}
			return &well, of(in)
		},
	},
	"the registry takes nothing": {
		fire: []string{"StorekeeperProvisioningFails/page", "StorekeeperProvisioningFails/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t, "WEBHOOK_WAIT=100ms")
			in.Stores.Close()
			for range 4 {
				in.Webhook("workspace.created", uuid.NewString(), time.Now())
			}
			return well, of(in)
		},
	},
	"the list is damaged": {
		fire: []string{"StorekeeperReconcileFails/page", "StorekeeperReconcileFails/ticket", "StorekeeperImplausibleList/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			in.Auth.SetFault(demo.FaultTruncated)
			for range 3 {
				require.Error(t, reconcile(in))
			}
			return well, of(in)
		},
	},
	"the list lacks most of what is monitored": {
		fire: []string{"StorekeeperGuardKeepsBack/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			for range 12 {
				_, err := in.Stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: uuid.NewString(), At: time.Now()})
				require.NoError(t, err)
			}
			require.NoError(t, reconcile(in))
			return well, of(in)
		},
	},
	"a workspace was deleted and nobody said so": {
		fire: []string{"StorekeeperOrphans/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, user, well := whole(t)
			in.Auth.SetWebhooksLost(true)
			user.Delete(user.Create())
			_, err := in.Stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: uuid.NewString(), At: time.Now()})
			require.NoError(t, err)
			require.NoError(t, reconcile(in))
			return well, of(in)
		},
	},
	"no run succeeds any more": {
		fire: []string{"StorekeeperNoReconcileRun/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t, "WORKSPACE_RECONCILE_INTERVAL_MS=1000")
			in.Auth.SetFault(demo.FaultFailing)
			return well, of(in)
		},
	},
	"a missed webhook is repaired after 20 minutes": {
		fire: []string{"StorekeeperRepairLate/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			past, err := in.Stores.Reconciliation(t.Context())
			require.NoError(t, err)
			for _, run := range past.Recent { // nobody waits for it: these runs were 20 minutes ago
				ago := func(at time.Time) string { return at.Add(-20 * time.Minute).UTC().Format("2006-01-02T15:04") }
				now := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04") }
				report := string(run.Report)
				for _, at := range []time.Time{run.StartedAt, run.CompletedAt, run.StartedAt.Add(time.Minute)} {
					report = strings.ReplaceAll(report, now(at), ago(at))
				}
				run.Report, run.CompletedAt = []byte(report), run.CompletedAt.Add(-20*time.Minute)
				require.NoError(t, in.Stores.RecordReconcile(t.Context(), run))
			}
			in.SignUpSilently()
			require.NoError(t, reconcile(in))
			return well, of(in)
		},
	},
	"all stores are paused for a day": {
		fire: []string{"StorekeeperForgottenPause/ticket"}, hold: 25 * 60,
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			_, err := in.Stores.Pause(t.Context(), storemanager.PauseRequest{Pause: storemanager.Pause{Reason: "r", Actor: "a"}})
			require.NoError(t, err)
			return well, of(in)
		},
	},
	"the schedule is paused for a day": {
		fire: []string{"StorekeeperForgottenPause/ticket"}, hold: 25 * 60,
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			schedule := in.Temporal.ScheduleClient().GetHandle(t.Context(), contract.ReconcileScheduleID)
			require.NoError(t, schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "by hand"}))
			return well, of(in)
		},
	},
	"the sync backend is away": {
		fire: []string{"StorekeeperSyncBackendLost/page", "StorekeeperStoresNotConnected/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			require.NoError(t, in.Sync.Stop(t.Context()))
			return well, of(in)
		},
	},
	"the workers are gone": {
		fire: []string{"StorekeeperNoWorkerPolls/page", "StorekeeperEventBacklog/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{}) // they never came
			require.Equal(t, http.StatusAccepted, a.Webhook("workspace.created", uuid.NewString(), time.Now()).Code)
			return nil, a.scrape
		},
	},
	"a history does not fit the code": {
		fire: []string{"StorekeeperNonDeterminism/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			options := client.StartWorkflowOptions{TaskQueue: "of-another-version"}
			work := func(code func(workflow.Context) error) worker.Worker {
				w := worker.New(in.Temporal, options.TaskQueue, worker.Options{})
				w.RegisterWorkflowWithOptions(code, workflow.RegisterOptions{Name: "Changed"})
				require.NoError(t, w.Start())
				return w
			}
			old := work(func(ctx workflow.Context) error {
				_ = workflow.Sleep(ctx, time.Millisecond)
				workflow.GetSignalChannel(ctx, "go on").Receive(ctx, nil)
				return nil
			})
			changed, err := in.Temporal.ExecuteWorkflow(t.Context(), options, "Changed")
			require.NoError(t, err)
			in.Eventually("it has slept", func() bool {
				described, err := in.Temporal.DescribeWorkflowExecution(t.Context(), changed.GetID(), "")
				return err == nil && described.WorkflowExecutionInfo.HistoryLength >= 8
			})
			old.Stop()
			t.Cleanup(work(func(ctx workflow.Context) error {
				return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour}), "Another").Get(ctx, nil)
			}).Stop)
			require.NoError(t, in.Temporal.SignalWorkflow(t.Context(), changed.GetID(), "", "go on", nil))
			return well, of(in)
		},
	},
	"the disk is small": {
		fire: []string{"StorekeeperDiskNearlyFull/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			folder := t.TempDir()
			if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", folder).CombinedOutput(); err != nil {
				t.Skipf("no small disk can be made here, which needs root: %s", out)
			}
			t.Cleanup(func() { require.NoError(t, exec.Command("umount", "--lazy", folder).Run()) })
			return nil, of(harness.StartWith(t, standalone.Options{DataDir: folder}))
		},
	},
	"the Auth Worker refuses the token": {
		fire: []string{"StorekeeperTokenRefused/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{worker: "another-token"})
			well := a.scrape()
			a.startWorker() // and the edge asks for a run at its start
			return &well, requiring(a.scrape, `by="auth_worker"`)
		},
	},
	"the store manager refuses the token": {
		fire: []string{"StorekeeperTokenRefused/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{edge: "another-token"})
			well := a.scrape() // each scrape asks, so the next one counts one more
			return &well, a.scrape
		},
	},
	"the sync backend refuses the token": {
		fire: []string{"StorekeeperTokenRefused/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{sync: "another-token"})
			well := a.scrape()
			_, err := a.Stores.Ensure(t.Context(), storemanager.EnsureRequest{StoreID: "some-store", At: time.Now()})
			require.NoError(t, err)
			return &well, requiring(a.scrape, `by="sync_backend"`)
		},
	},
	"the event sink refuses the signature": {
		fire: []string{"StorekeeperTokenRefused/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
			t.Cleanup(sink.Close)
			in, user, well := whole(t, "EVENT_SINK_URL="+sink.URL, "EVENT_SINK_SECRET=whsec_"+strings.Repeat("QUJD", 8))
			conn, err := livestore.Dial(t.Context(), livestore.Options{
				URL: in.Sync.URL(), StoreID: user.Default, Payload: map[string]string{"serverBypass": standalone.DemoBypassToken},
			})
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			require.NoError(t, conn.Push(t.Context(), "", []livestore.Event{{Name: "v1.Test", Args: []byte(`{}`), Seq: 1}}))
			return well, requiring(of(in), `by="event_sink"`)
		},
	},
	"a re-check does not get on": {
		fire: []string{"StorekeeperDeletionOverdue/ticket"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, user, well := whole(t, "DELETION_GRACE_PERIOD=0s")
			id := user.Create()
			in.Eventually("monitored", func() bool { return in.Monitored(id) })
			in.Auth.SetFault(demo.FaultFailing)
			user.Delete(id)
			return well, of(in)
		},
	},
	"the registry is empty again": {
		fire: []string{"StorekeeperRegistryLost/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			folder := t.TempDir()
			in := harness.StartWith(t, standalone.Options{DataDir: folder})
			in.SignUp()
			well := of(in)()
			in.Stop()
			require.NoError(t, os.Truncate(filepath.Join(folder, "stores.db"), 0))
			for _, rest := range []string{"-wal", "-shm"} {
				_ = os.Remove(filepath.Join(folder, "stores.db"+rest))
			}
			return &well, of(harness.StartWith(t, standalone.Options{DataDir: folder}))
		},
	},
	"Temporal is away": {
		fire: []string{"StorekeeperTemporalUnreachable/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{})
			well := a.scrape()
			a.temporal.Stop()
			return &well, a.scrape
		},
	},
	"the store manager is away": {
		fire: []string{"StorekeeperStoreManagerUnreachable/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			a := startApart(t, tokens{})
			well := a.scrape()
			a.api.Close()
			return &well, a.scrape
		},
	},
	"the process is gone": {
		fire: []string{"StorekeeperDown/page"},
		play: func(t *testing.T) (*scrape, func() scrape) {
			in, _, well := whole(t)
			in.Stop()
			return well, func() scrape {
				_, err := http.Get(in.EdgeURL + "/metrics")
				return scrape{at: time.Now(), up: err == nil}
			}
		},
	},
}

// requiring says that a scrape counts only once that series is not 0; before it is empty.
func requiring(get func() scrape, labels string) func() scrape {
	return func() scrape {
		s := get()
		for series, value := range s.samples {
			if strings.Contains(series, labels) && value > 0 {
				return s
			}
		}
		return scrape{at: s.at, up: true}
	}
}
