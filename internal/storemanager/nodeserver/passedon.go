package nodeserver

import (
	"context"

	"storekeeper/internal/storemanager"
)

// The methods of this file concern what the registry remembers and the server does not. The registry alone answers them.

// CancelDeletion implements Deletions.
func (n *Node) CancelDeletion(ctx context.Context, q storemanager.CancelRequest) (storemanager.Store, error) {
	return n.registry.CancelDeletion(ctx, q)
}

// TakeOverDeletion implements Deletions.
func (n *Node) TakeOverDeletion(ctx context.Context, q storemanager.TakeOverRequest) (storemanager.Store, error) {
	return n.registry.TakeOverDeletion(ctx, q)
}

// Hold implements Deletions.
func (n *Node) Hold(ctx context.Context, id string, h storemanager.Hold) (storemanager.Store, error) {
	return n.registry.Hold(ctx, id, h)
}

// Release implements Deletions.
func (n *Node) Release(ctx context.Context, id string) (storemanager.Store, error) {
	return n.registry.Release(ctx, id)
}

// Pause implements Pauses.
func (n *Node) Pause(ctx context.Context, p storemanager.Pause) (storemanager.Pause, error) {
	return n.registry.Pause(ctx, p)
}

// Resume implements Pauses.
func (n *Node) Resume(ctx context.Context, storeID string) error {
	return n.registry.Resume(ctx, storeID)
}

// Pauses implements Pauses.
func (n *Node) Pauses(ctx context.Context) ([]storemanager.Pause, error) {
	return n.registry.Pauses(ctx)
}

// RecordReconcile implements Reconciliations.
func (n *Node) RecordReconcile(ctx context.Context, run storemanager.ReconcileRun) error {
	return n.registry.RecordReconcile(ctx, run)
}

// Reconciliation implements Reconciliations.
func (n *Node) Reconciliation(ctx context.Context) (storemanager.Reconciliation, error) {
	return n.registry.Reconciliation(ctx)
}

// AcknowledgeLoss implements Reconciliations.
func (n *Node) AcknowledgeLoss(ctx context.Context, a storemanager.Acknowledgement) error {
	return n.registry.AcknowledgeLoss(ctx, a)
}
