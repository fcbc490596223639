package edge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"storekeeper/internal/build"
	"storekeeper/internal/doctor"
	"storekeeper/internal/httpserver"
	"storekeeper/internal/orchestrator"
	"storekeeper/internal/storemanager"
)

// doctorTimeout bounds the checks of GET /admin/doctor. It is longer than those of the store manager take, and than a list of names does.
const doctorTimeout = 6 * time.Second

// Examiner has another process check itself.
type Examiner func(ctx context.Context) (storemanager.Examination, error)

// doctor answers GET /admin/doctor: what starter doctor can't see from where it stands.
func (s *Server) doctor(w http.ResponseWriter, r *http.Request) {
	checks := []doctor.Check{
		{Name: "temporal", Do: s.examineTemporal},
		{Name: "workers", Do: s.examineWorkers},
		{Name: "auth worker list", Do: s.examineList},
		{Name: "auth worker clock", Do: s.examineAuthClock},
		{Name: "open files", Do: func(context.Context) doctor.Result { return doctor.OpenFiles(s.bounds.maxConnections + 256) }},
		{Name: "store manager", Do: s.examineManager},
	}
	findings := doctor.Run(r.Context(), "edge", doctorTimeout, checks)
	httpserver.WriteJSON(w, http.StatusOK, storemanager.Examination{Time: time.Now().UTC(), Version: build.Version, Findings: findings})
}

func (s *Server) examineTemporal(ctx context.Context) doctor.Result {
	switch err := s.orchestrator.Reachable(ctx); {
	case errors.Is(err, orchestrator.ErrDatabase):
		return doctor.Failed("Temporal can't use its database", "look at its disk, or its PostgreSQL")
	case err != nil:
		return doctor.Failed("Temporal can't be reached from the edge", "check that it runs, and TEMPORAL_ADDRESS of cmd/webhook")
	}
	return doctor.OK("it answers the edge")
}

func (s *Server) examineWorkers(ctx context.Context) doctor.Result {
	switch err := s.orchestrator.WorkersPolling(ctx); {
	case errors.Is(err, orchestrator.ErrNoWorker):
		return doctor.Failed(err.Error(), "start cmd/worker, with the edge's TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE")
	case err != nil:
		return doctor.Unknown("Temporal can't be asked", "")
	}
	return doctor.OK("they poll")
}

// examineList gets a list, at most one in 20 s. An edge that knows no Auth Worker tells how the runs of the workers went.
func (s *Server) examineList(ctx context.Context) doctor.Result {
	const wrongToken = "SERVER_BYPASS_TOKEN must be the Auth Worker's"
	at, err := s.status.ListNow(ctx)
	switch {
	case err == nil:
		return doctor.OK("complete, of " + at.UTC().Format(time.RFC3339))
	case !errors.Is(err, errors.ErrUnsupported):
		return doctor.Failed(err.Error(), "check AUTH_WORKER_INTERNAL_URL and that the Auth Worker runs; if it refused the token: "+wrongToken)
	}
	known, err := s.manager.Reconciliation(ctx)
	switch failed := known.LastError; {
	case err != nil:
		return doctor.Unknown("the edge has no AUTH_WORKER_INTERNAL_URL, and the store manager can't be asked how the runs went", "")
	case failed != nil && (known.LastSuccessAt == nil || failed.CompletedAt.After(*known.LastSuccessAt)):
		return doctor.Failed("the newest run failed: "+failed.Error, "check AUTH_WORKER_INTERNAL_URL of cmd/worker; if the token was refused: "+wrongToken)
	case known.LastSuccessAt == nil:
		return doctor.Unknown("no run has ended yet", "starter reconcile --wait")
	}
	return doctor.OK("by the workers' run of " + known.LastSuccessAt.UTC().Format(time.RFC3339))
}

func (s *Server) examineAuthClock(ctx context.Context) doctor.Result {
	url := string(s.config.AuthWorkerURL)
	if url == "" {
		return doctor.Unknown("the edge has no AUTH_WORKER_INTERNAL_URL", "set it for cmd/webhook, too, to have it checked")
	}
	return doctor.ServerClock(ctx, "the Auth Worker", url+"/")
}

func (s *Server) examineManager(ctx context.Context) doctor.Result {
	asked := time.Now()
	if err := s.manager.Ping(ctx); errors.Is(err, storemanager.ErrUnauthorized) {
		return doctor.Failed("the store manager refused the edge's token", "SERVER_BYPASS_TOKEN must be the same for both")
	} else if err != nil && s.examine == nil {
		return doctor.Failed("the store manager can't do its work", "look at its log")
	}
	if s.examine == nil {
		return doctor.OK("it answers")
	}
	e, err := s.examine(ctx)
	switch {
	case errors.Is(err, storemanager.ErrNotFound), err == nil && e.Time.IsZero():
		return doctor.Unknown("it is older than the edge, and can't check itself", "upgrade it")
	case err != nil:
		return doctor.Failed("the store manager can't be reached from the edge", "check that cmd/storemanager runs, and STORE_MANAGER_URL of cmd/webhook")
	}
	result := doctor.Clock("the store manager", e.Time, asked, time.Now(), 0)
	if result.Status == storemanager.FindingOK && e.Version != build.Version {
		result = doctor.Failed(fmt.Sprintf("its version is %s, and the edge's %s", e.Version, build.Version), "finish the upgrade: all processes want one version")
	}
	if result.Status == storemanager.FindingOK {
		result.Detail = "it answers, and its clock " + result.Detail
	}
	result.More = e.Findings
	return result
}
