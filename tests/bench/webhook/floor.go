//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"storekeeper/tests/bench/internal/measure"
)

// floorMode is the first argument of a child that is the worker of the floors. Temporal's address follows.
const floorMode = "floor"

const (
	floorQueue  = "bench-floor"
	floorUpdate = "apply"
	// The floors, by what their one activity is.
	regular = "activity"
	local   = "local"
)

var floors = []string{regular, local}

// workFloor is the child. It prints a line when it polls, and ends when its standard input does. Its worker has the options of
// internal/worker, without interceptors.
func workFloor(_ context.Context, address string) error {
	c, err := dialFloor(address)
	if err != nil {
		return err
	}
	defer c.Close()
	pollers := worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		InitialNumberOfPollers: 5, MinimumNumberOfPollers: 2, MaximumNumberOfPollers: 50,
	})
	w := worker.New(c, floorQueue, worker.Options{
		WorkflowTaskPollerBehavior: pollers, ActivityTaskPollerBehavior: pollers, MaxConcurrentActivityExecutionSize: 2000,
	})
	w.RegisterWorkflow(floorWorkflow)
	w.RegisterActivity(floorActivity)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	if _, err := fmt.Fprintln(os.Stdout, "ready"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func dialFloor(address string) (client.Client, error) {
	return client.Dial(client.Options{HostPort: address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
}

// floorWorkflow is the least that an event needs: an update runs one activity, and then the workflow completes.
func floorWorkflow(ctx workflow.Context, kind string) error {
	updated := false
	err := workflow.SetUpdateHandler(ctx, floorUpdate, func(ctx workflow.Context, id string) error {
		defer func() { updated = true }()
		if kind == local {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: time.Second})
			return workflow.ExecuteLocalActivity(ctx, floorActivity, id).Get(ctx, nil)
		}
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 45 * time.Second})
		return workflow.ExecuteActivity(ctx, floorActivity, id).Get(ctx, nil)
	})
	if err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return updated && workflow.AllHandlersFinished(ctx) })
}

func floorActivity(context.Context, string) error { return nil }

// startFloor returns once the worker of the floors polls.
func (b *bench) startFloor(ctx context.Context) (err error) {
	if b.worker, err = measure.StartSelf(ctx, b.dir, floorMode, b.standalone.temporal); err != nil {
		return err
	}
	if _, err = b.worker.Line(); err != nil {
		return err
	}
	b.temporal, err = dialFloor(b.standalone.temporal)
	return err
}

// floorOnce starts a workflow by an update and waits for its outcome, with the options that an event has.
func (b *bench) floorOnce(ctx context.Context, kind string) error {
	id := uuid.NewString()
	start := b.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: "bench-floor/" + id, TaskQueue: floorQueue,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, floorWorkflow, kind)
	handle, err := b.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID: id, UpdateName: floorUpdate, Args: []any{id}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}
