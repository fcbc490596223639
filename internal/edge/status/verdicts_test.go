package status

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/contract"
	"storekeeper/internal/config"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

func TestReconciliationIsHealthyWithinTwoIntervals(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) { f.Config.ReconcileInterval = config.Milliseconds(time.Minute) })
	f.Record(t, "r1", "", contract.ReconcileReport{CompletedAt: time.Now().Add(-90 * time.Second)})
	require.Equal(t, 200, f.Do(t, http.MethodGet, "/health", "").Status)
}

func TestARunThatGoesOnIsNoFailureHoweverShortTheInterval(t *testing.T) {
	t.Parallel()
	const interval = 5 * time.Minute
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	underWay := func(began, sign time.Duration) *orchestrator.UnderWay {
		return &orchestrator.UnderWay{StartedAt: ago(began), LastSign: ago(sign)}
	}
	ended := func(at time.Duration, failure string) storemanager.ReconcileRun {
		return storemanager.ReconcileRun{CompletedAt: ago(at), Error: failure}
	}
	type runs = []storemanager.ReconcileRun
	none := &orchestrator.UnderWay{}
	for name, tt := range map[string]struct {
		started time.Duration // of the edge
		success time.Duration // the last one; 0: none ever
		recent  runs
		run     *orchestrator.UnderWay
		pause   time.Duration // when the schedule was last seen to be paused; 0: never
		state   orchestrator.Schedule
		want    string // "" is healthy
	}{
		"a success within two intervals": {time.Hour, 9 * time.Minute, nil, none, 0, orchestrator.Schedule{}, ""},
		"no success, no run":             {time.Hour, 11 * time.Minute, nil, none, 0, orchestrator.Schedule{}, "no successful run for two intervals"},
		"a run that takes four intervals and makes progress": {
			time.Hour, 22 * time.Minute, runs{ended(22*time.Minute, "")}, underWay(20*time.Minute, time.Second), 0, orchestrator.Schedule{}, "",
		},
		"a run that hangs": {
			time.Hour, 22 * time.Minute, nil, underWay(20*time.Minute, 3*time.Minute), 0,
			orchestrator.Schedule{},
			"no successful run for two intervals, the one under way shows no progress since",
		},
		"a run that comes after another has failed": {
			time.Hour, 22 * time.Minute,
			runs{ended(5*time.Minute, "down")},
			underWay(4*time.Minute, time.Second), 0,
			orchestrator.Schedule{},
			"no successful run for two intervals",
		},
		"whether a run is under way is not known":                {time.Hour, 22 * time.Minute, nil, nil, 0, orchestrator.Schedule{}, "no successful run for two intervals"},
		"the edge has just started, after days":                  {time.Minute, 72 * time.Hour, runs{ended(72*time.Hour, "")}, none, 0, orchestrator.Schedule{}, ""},
		"the edge has just started, where there never was a run": {time.Minute, 0, nil, none, 0, orchestrator.Schedule{}, ""},
		"the edge started two intervals ago":                     {11 * time.Minute, 72 * time.Hour, nil, none, 0, orchestrator.Schedule{}, "no successful run for two intervals"},
		"the first run since the edge's start takes long": {
			21 * time.Minute, 72 * time.Hour, nil, underWay(20*time.Minute, time.Second), 0, orchestrator.Schedule{}, "",
		},
		"the edge has started anew while runs fail": {
			time.Minute, 24 * time.Hour, runs{ended(6*time.Minute, "down")}, none, 0, orchestrator.Schedule{}, "no successful run for two intervals",
		},
		"a long pause goes on": {
			24 * time.Hour, 3 * time.Hour,
			runs{ended(3*time.Hour, "")},
			none, time.Second,
			orchestrator.Schedule{Paused: true},
			"no successful run for two intervals, the schedule is paused",
		},
		"a long pause has just ended": {24 * time.Hour, 3 * time.Hour, runs{ended(3*time.Hour, "")}, none, time.Minute, orchestrator.Schedule{}, ""},
		"a pause ended two intervals ago": {
			24 * time.Hour, 3 * time.Hour, nil, none, 11 * time.Minute, orchestrator.Schedule{}, "no successful run for two intervals",
		},
		"the schedule still has the longer interval of before": {
			24 * time.Hour, 50 * time.Minute, nil, none, 0, orchestrator.Schedule{Every: time.Hour}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &Status{config: &config.Config{ReconcileEnabled: true, ReconcileInterval: config.Milliseconds(interval)}, started: ago(tt.started)}
			if tt.pause > 0 {
				s.pausedLast.Store(new(ago(tt.pause)))
			}
			rec := &storemanager.Reconciliation{Recent: tt.recent}
			if tt.success > 0 {
				rec.LastSuccessAt = new(ago(tt.success))
			}
			got := s.checkReconciliation(state{reconciliation: rec, run: tt.run, schedule: &tt.state}, now)
			require.Equal(t, tt.want == "", got.OK, got.Error)
			require.True(t, strings.HasPrefix(got.Error, tt.want), got.Error)
		})
	}
}

func TestARunThatTakesLongerThanTheIntervalIsAWarning(t *testing.T) {
	t.Parallel()
	f := setup(t, func(f *fixture) {
		f.Temporal.UnderWay = orchestrator.UnderWay{StartedAt: time.Now().Add(-2 * time.Hour), LastSign: time.Now()}
	})
	require.Contains(t, f.Do(t, http.MethodGet, "/health", "").Body, "the run under way takes longer than the interval, since 2")
}

func TestHealthFailsWhenNoStoreHasASubscription(t *testing.T) {
	t.Parallel()
	type states = map[storemanager.ConnectionState]int
	for name, tt := range map[string]struct {
		connections states
		subscribed  int64
		ok          bool
	}{
		"no stores":                             {nil, 0, true},
		"none is configured":                    {states{"not_configured": 3}, 0, true},
		"all are about to connect":              {states{"connecting": 3}, 0, true},
		"one of many is connected":              {states{"connected": 1, "disconnected": 9, "error": 3}, 1, true},
		"the sink takes nothing":                {states{"stuck": 3}, 3, true},
		"the backend fails each pull":           {states{"stuck": 3}, 0, false},
		"the backend is away":                   {states{"disconnected": 3}, 0, false},
		"some have failed, others wait in line": {states{"disconnected": 1, "connecting": 9000}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &storemanager.Overview{Connections: tt.connections, Monitors: &storemanager.MonitorTotals{Subscribed: tt.subscribed}}
			require.Equal(t, tt.ok, checkConnections(state{overview: o}).OK)
		})
	}
}
