package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const pollInterval = 10 * time.Millisecond

// waitUntilServing returns once a workflow could be started in the namespace, or with an error when ctx ends.
func waitUntilServing(ctx context.Context, addr, namespace string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	err = poll(ctx, func(ctx context.Context) error { return checkServing(ctx, conn, namespace) })
	if err != nil {
		return fmt.Errorf("wait for temporal server: %w", err)
	}
	return nil
}

func checkServing(ctx context.Context, conn *grpc.ClientConn, namespace string) error {
	// A service that is not up yet may let an attempt hang. It must not use up all the time.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	service := workflowservice.WorkflowService_ServiceDesc.ServiceName
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if health.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("frontend is %s", health.Status)
	}
	frontend := workflowservice.NewWorkflowServiceClient(conn)
	if _, err := frontend.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace}); err != nil {
		return err
	}
	// The frontend answers the above by itself. History answers that this workflow is not found, and only once it has its shard.
	_, err = frontend.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: namespace,
		Execution: &common.WorkflowExecution{WorkflowId: "storekeeper-readiness-probe"},
	})
	if _, notFound := errors.AsType[*serviceerror.NotFound](serviceerror.FromStatus(status.Convert(err))); notFound {
		return nil
	}
	return err
}

// poll calls attempt until it succeeds or ctx ends. In the second case the error says why ctx ended and why the last attempt failed.
func poll(ctx context.Context, attempt func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
