package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	workerpb "go.temporal.io/api/worker/v1"
	"go.temporal.io/api/workflowservice/v1"

	"storekeeper/contract"
)

// ErrNoWorker: Temporal is there, but no worker works off what it takes. The text says when one was last heard of, if that is known.
var ErrNoWorker = errors.New("no worker polls the task queue")

const (
	// longPoll is how long a worker without work and without heartbeats may be silent: its poll waits as long.
	longPoll = time.Minute
	// silenceAllowed is added to longPoll or to the interval of the heartbeats, because clocks differ and machines are busy.
	silenceAllowed = 15 * time.Second
)

// WorkersPolling checks that Temporal would take an event and that a worker would work it off. Else it is ErrUnavailable or ErrNoWorker.
// Temporal lists a worker for minutes after it was last heard of. Here a dead worker counts for 20 s more, or for 75 s if it died before
// its second heartbeat or its Temporal takes no heartbeats.
func (c *Client) WorkersPolling(ctx context.Context) error {
	heartbeats := sync.OnceValue(func() map[string]*workerpb.WorkerHeartbeat { return c.heartbeats(ctx) })
	for _, kind := range []enumspb.TaskQueueType{enumspb.TASK_QUEUE_TYPE_WORKFLOW, enumspb.TASK_QUEUE_TYPE_ACTIVITY} {
		resp, err := c.temporal.DescribeTaskQueue(ctx, contract.TaskQueue, kind)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if seen, ok := polled(resp.GetPollers(), heartbeats); !ok && seen.IsZero() {
			return ErrNoWorker
		} else if !ok {
			return fmt.Errorf("%w; the last one was heard of at %s", ErrNoWorker, seen.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// identityMark comes before the version in the identity of a worker.
const identityMark = "@storekeeper/"

// WorkerIdentity is what a worker of this version calls itself. Workers tells the version from it.
func WorkerIdentity(host string, pid int, version string) string {
	return fmt.Sprintf("%d@%s%s%s", pid, host, identityMark, version)
}

// Worker is a worker that polls, or has until lately.
type Worker struct {
	// Identity is what it calls itself. Version is "" if it is older than WorkerIdentity.
	Identity, Version string
	// SeenAt is when it was last heard of, by Temporal's clock.
	SeenAt time.Time
}

// Workers returns the workers that live, sorted by identity. ErrUnavailable if Temporal can't be asked.
func (c *Client) Workers(ctx context.Context) ([]Worker, error) {
	resp, err := c.temporal.DescribeTaskQueue(ctx, contract.TaskQueue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	heartbeats := sync.OnceValue(func() map[string]*workerpb.WorkerHeartbeat { return c.heartbeats(ctx) })
	var workers []Worker
	for _, p := range resp.GetPollers() {
		w := Worker{Identity: p.GetIdentity(), SeenAt: p.GetLastAccessTime().AsTime()}
		if time.Since(w.SeenAt) >= silenceAllowed {
			var alive bool
			if w.SeenAt, alive = aliveAt(p, heartbeats); !alive {
				continue // it is gone; Temporal lists it for some minutes more
			}
		}
		_, w.Version, _ = strings.Cut(w.Identity, identityMark)
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b Worker) int { return strings.Compare(a.Identity, b.Identity) })
	return workers, nil
}

// polled says whether one of the pollers lives, and when the last one was heard of. It asks for heartbeats (by the identity of the worker)
// only when the polls themselves don't tell.
func polled(pollers []*taskqueuepb.PollerInfo, heartbeats func() map[string]*workerpb.WorkerHeartbeat) (seen time.Time, ok bool) {
	for _, p := range pollers {
		if at := p.GetLastAccessTime().AsTime(); at.After(seen) {
			seen = at
		}
	}
	if len(pollers) == 0 || time.Since(seen) < silenceAllowed {
		return seen, len(pollers) > 0
	}
	for _, p := range pollers {
		at, alive := aliveAt(p, heartbeats)
		seen, ok = latest(seen, at), ok || alive
	}
	return seen, ok
}

// aliveAt is when the worker was last heard of, and whether it may well live.
func aliveAt(p *taskqueuepb.PollerInfo, heartbeats func() map[string]*workerpb.WorkerHeartbeat) (at time.Time, alive bool) {
	at, silence := p.GetLastAccessTime().AsTime(), longPoll
	if h := heartbeats()[p.GetIdentity()]; h != nil {
		at = latest(at, h.GetHeartbeatTime().AsTime())
		if every := h.GetElapsedSinceLastHeartbeat().AsDuration(); every > 0 {
			silence = min(every, longPoll)
		}
	}
	return at, time.Since(at) < silence+silenceAllowed
}

// heartbeats are the newest of each worker, by its identity. Empty when Temporal knows of none, or can't say.
func (c *Client) heartbeats(ctx context.Context) map[string]*workerpb.WorkerHeartbeat {
	newest := map[string]*workerpb.WorkerHeartbeat{}
	list := &workflowservice.ListWorkersRequest{Namespace: c.namespace, Query: fmt.Sprintf("TaskQueue = '%s'", contract.TaskQueue)}
	for {
		page, err := c.temporal.WorkflowService().ListWorkers(ctx, list)
		if err != nil {
			return newest // a Temporal that has no heartbeats; if it is away, DescribeTaskQueue has said so
		}
		for _, w := range page.GetWorkers() {
			resp, err := c.temporal.WorkflowService().DescribeWorker(ctx, &workflowservice.DescribeWorkerRequest{
				Namespace: c.namespace, WorkerInstanceKey: w.GetWorkerInstanceKey(),
			})
			h := resp.GetWorkerInfo().GetWorkerHeartbeat()
			if err != nil || h.GetHeartbeatTime() == nil { // it has just ended
				continue
			}
			// A process that was started again in its container has the identity of the one before.
			if have := newest[w.GetWorkerIdentity()]; have == nil || have.GetHeartbeatTime().AsTime().Before(h.GetHeartbeatTime().AsTime()) {
				newest[w.GetWorkerIdentity()] = h
			}
		}
		if list.NextPageToken = page.GetNextPageToken(); len(list.NextPageToken) == 0 {
			return newest
		}
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
