package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/build"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/config"
	"storekeeper/internal/doctor"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

// healthTimeout is shorter than what containers give a health check by default.
const healthTimeout = 3 * time.Second

func (a *app) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "healthcheck URL",
		Short:   "Ask a URL for its health, for containers",
		Long:    "GET the URL. Exit code 0 for a status 2xx within 3 s, else 1: container platforms know no other code.",
		Example: "  starter healthcheck http://127.0.0.1:3003/livez",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var target config.URL
			if err := target.UnmarshalText([]byte(args[0])); err != nil {
				return exit.UsageError("the URL is not accepted: " + err.Error())
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, string(target), http.NoBody)
			if err != nil {
				return exit.Unexpected(err)
			}
			client := http.Client{
				Transport: httpclient.Through(httpclient.Transport()),
				Timeout:   healthTimeout,
				// A redirect is no health.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			resp, err := client.Do(req)
			if err != nil {
				return exit.Fail(exit.Failed, "unhealthy", fmt.Sprintf("%s: %s", target, exit.Innermost(err)), "")
			}
			defer resp.Body.Close()
			_, _ = io.CopyN(io.Discard, resp.Body, 1<<20) // spares the server a broken connection; only the status counts
			if resp.StatusCode/100 != 2 {
				return exit.Fail(exit.Failed, "unhealthy", fmt.Sprintf("%s answers %d %s", target, resp.StatusCode, http.StatusText(resp.StatusCode)), "")
			}
			if a.json {
				a.writeJSON(map[string]int{"status": resp.StatusCode})
			}
			return nil
		},
	}
}

const (
	// doctorTimeout bounds each check that the CLI makes. The edge takes some 6 s for its own.
	doctorTimeout = 12 * time.Second
	here          = "here"
)

// diagnosis is what doctor writes with --json.
type diagnosis struct {
	// Status is "ok" or "failed".
	Status   string                 `json:"status"`
	Failed   int                    `json:"failed"`
	Findings []storemanager.Finding `json:"findings"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check the whole installation, and say what to do",
		Long: `Check the whole installation from where this runs, and say what to do about each fault. Nothing is changed, and no secret is shown.

From here: the settings, the names of hosts, Temporal with its namespace, search attributes, schedule, workers and clock, and the edge. The
edge checks what it asks itself: Temporal, the workers, the Auth Worker's list by its token, clocks, open files; the store manager
checks its registry, files, sync backend and sink. All of it is done at the same time, and takes 12 s at most.

Exit code 9 when something is wrong. What can't be checked from here is unknown, and no fault.`,
		Example: "  starter doctor\n  starter doctor --json | jq -r '.findings[] | select(.status == \"failed\").todo'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stop := a.progress(cmd.Context(), "the examination", nil)
			findings := a.examine(cmd.Context())
			stop()
			if cmd.Context().Err() != nil {
				return exit.Interruption("nothing was changed", "")
			}
			d := diagnosis{Status: "ok", Findings: findings}
			for _, f := range findings {
				if f.Status == storemanager.FindingFailed {
					d.Status, d.Failed = "failed", d.Failed+1
				}
			}
			if a.json {
				a.writeJSON(d)
			} else {
				a.printFindings(findings)
			}
			if d.Failed > 0 {
				return exit.Fail(exit.Wrong, "wrong", fmt.Sprintf("%d of %d checks failed", d.Failed, len(findings)), "do what is said about each")
			}
			return nil
		},
	}
}

func (a *app) printFindings(findings []storemanager.Finding) {
	screen := a.screen()
	styles := map[storemanager.FindingStatus]term.Style{
		storemanager.FindingOK: term.Green, storemanager.FindingFailed: term.Red, storemanager.FindingUnknown: term.Yellow,
	}
	for _, f := range findings {
		a.print(screen.Paint(styles[f.Status], fmt.Sprintf("%-8s", text.Plain(string(f.Status)))))
		a.printf("  %-14s %-18s %s\n", f.Place, f.Check, f.Detail)
		if f.Todo != "" {
			a.printf("          %-14s %-18s do: %s\n", "", "", f.Todo)
		}
	}
}

// examine makes all checks, and has the edge make its own.
func (a *app) examine(ctx context.Context) []storemanager.Finding {
	dial := sync.OnceValues(func() (*temporalclient.Connection, error) { return a.dial(ctx) })
	defer func() {
		if c, err := dial(); err == nil {
			c.Close()
		}
	}()
	// asked is a check that needs Temporal. Without it only the check of Temporal itself has failed.
	asked := func(check func(context.Context, *temporalclient.Connection) doctor.Result) func(context.Context) doctor.Result {
		return func(ctx context.Context) doctor.Result {
			c, err := dial()
			if err != nil {
				return doctor.Unknown("Temporal can't be asked", "")
			}
			return check(ctx, c)
		}
	}
	return doctor.Run(ctx, here, doctorTimeout, []doctor.Check{
		{Name: "settings", Do: func(context.Context) doctor.Result { return a.examineSettings() }},
		{Name: "names", Do: a.examineNames},
		{Name: "temporal", Do: func(context.Context) doctor.Result {
			if _, err := dial(); err != nil {
				return failedBy(err)
			}
			return doctor.OK("it answers")
		}},
		{Name: "namespace", Do: asked(examineNamespace)},
		{Name: "search attributes", Do: asked(examineAttributes)},
		{Name: "schedule", Do: asked(examineSchedule)},
		{Name: "workers", Do: asked(examineWorkers)},
		{Name: "temporal clock", Do: asked(examineTemporalClock)},
		{Name: "edge", Do: a.examineEdge},
	})
}

// failedBy is the result of a check whose error says what to do.
func failedBy(err error) doctor.Result {
	if f, ok := errors.AsType[*exit.Failure](err); ok {
		return doctor.Failed(f.What, f.Todo)
	}
	return doctor.Failed(err.Error(), "")
}

func (a *app) examineSettings() doctor.Result {
	if _, err := a.settings(); err != nil {
		return failedBy(err)
	}
	if token, _ := a.lookup("SERVER_BYPASS_TOKEN"); token == "" {
		return doctor.Failed("SERVER_BYPASS_TOKEN is not set", "set it to the server's: without it the edge shows and does nothing")
	}
	return doctor.OK("all that are set can be read")
}

// examineNames looks up the hosts of all URLs that are set here, whoever uses them.
func (a *app) examineNames(ctx context.Context) doctor.Result {
	var hosts []string
	for _, name := range []string{
		"STOREKEEPER_URL", "AUTH_WORKER_INTERNAL_URL", "STORE_MANAGER_URL", "LIVESTORE_SYNC_URL", "EVENT_SINK_URL", "NODE_SERVER_URL",
	} {
		value, _ := a.lookup(name)
		if u, err := url.Parse(value); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	if u, err := url.Parse(a.url); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	address, _ := a.lookup("TEMPORAL_ADDRESS")
	if host, _, err := net.SplitHostPort(cmp.Or(a.address, address)); err == nil {
		hosts = append(hosts, host)
	}
	return doctor.Names(ctx, hosts...)
}

func examineNamespace(ctx context.Context, c *temporalclient.Connection) doctor.Result {
	if _, err := c.Engine(ctx); err != nil {
		return failedBy(c.Failure(err))
	}
	return doctor.OK(c.Namespace)
}

func examineAttributes(ctx context.Context, c *temporalclient.Connection) doctor.Result {
	missing, err := c.MissingSearchAttributes(ctx)
	switch {
	case err != nil:
		return doctor.Unknown("they can't be listed: "+exit.Innermost(err).Error(), "")
	case len(missing) > 0:
		return doctor.Failed("missing, or of another type: "+strings.Join(missing, ", "),
			"start a worker, which makes them, or: temporal operator search-attribute create --name WorkspaceState --type Keyword --name DeleteAt --type Datetime")
	}
	return doctor.OK("they are there")
}

func examineSchedule(ctx context.Context, c *temporalclient.Connection) doctor.Result {
	s, err := c.ReconcileSchedule(ctx)
	switch {
	case err != nil:
		return failedBy(c.Failure(err))
	case s.Every == 0:
		return doctor.Failed("there is none, so nothing reconciles by itself", "start cmd/worker, which makes it")
	case s.Paused:
		return doctor.Failed("it is paused: "+cmp.Or(s.Note, "nobody says why"),
			"temporal schedule toggle --schedule-id workspace-reconcile --unpause --reason …; if WORKSPACE_RECONCILE_ENABLED is false, take that off")
	}
	return doctor.OK("every " + s.Every.String())
}

func examineWorkers(ctx context.Context, c *temporalclient.Connection) doctor.Result {
	if err := c.WorkersPolling(ctx); err != nil {
		return failedBy(c.Failure(err))
	}
	workers, err := c.Workers(ctx)
	if err != nil {
		return failedBy(c.Failure(err))
	}
	var versions []string
	for _, w := range workers {
		versions = append(versions, cmp.Or(w.Version, "an older one"))
	}
	slices.Sort(versions)
	if versions = slices.Compact(versions); len(versions) > 1 {
		return doctor.Failed("they are of several versions: "+strings.Join(versions, ", "), "finish the upgrade: a run can get stuck between workers of two versions")
	}
	return doctor.OK(fmt.Sprintf("%d poll, of version %s", len(workers), strings.Join(versions, "")))
}

// examineTemporalClock looks at the newest poll, which has Temporal's time: a clock that is behind shows only once no worker seems to poll.
func examineTemporalClock(ctx context.Context, c *temporalclient.Connection) doctor.Result {
	workers, err := c.Workers(ctx)
	if err != nil || len(workers) == 0 {
		return doctor.Unknown("no worker has polled, and nothing else tells Temporal's time", "")
	}
	newest := slices.MaxFunc(workers, func(a, b orchestrator.Worker) int { return a.SeenAt.Compare(b.SeenAt) }).SeenAt
	return doctor.Clock("Temporal", newest, newest, time.Now(), 0)
}

// examineEdge has the edge check what it sees, and compares its clock and its version.
func (a *app) examineEdge(ctx context.Context) doctor.Result {
	e, err := a.edge()
	if err != nil {
		return doctor.Unknown("the settings name none that can be asked", "")
	}
	e.Timeout = doctorTimeout
	var found storemanager.Examination
	asked := time.Now()
	err = e.Get(ctx, "/admin/doctor", &found)
	switch {
	case errors.Is(err, edgeclient.ErrNotFound):
		return doctor.Failed("the edge at "+e.URL+" is older than this starter, and can't be examined", "upgrade it; /health says what it knows")
	case err != nil:
		return failedBy(err)
	}
	result := doctor.Clock("the edge", found.Time, asked, time.Now(), 0)
	switch {
	case result.Status == storemanager.FindingFailed:
	case found.Version != build.Version:
		result = doctor.Failed(fmt.Sprintf("its version is %s, and this starter's %s", found.Version, build.Version), "use the starter of the installation's version")
	default:
		result.Detail = "it answers, and its clock " + result.Detail
	}
	result.More = found.Findings
	return result
}
