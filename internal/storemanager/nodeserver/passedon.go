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
func (n *Node) Hold(ctx context.Context, id string, q storemanager.HoldRequest) (storemanager.Store, error) {
	return n.registry.Hold(ctx, id, q)
}

// Release implements Deletions.
func (n *Node) Release(ctx context.Context, q storemanager.ReleaseRequest) (storemanager.Store, error) {
	return n.registry.Release(ctx, q)
}

// Pause implements Pauses.
func (n *Node) Pause(ctx context.Context, q storemanager.PauseRequest) (storemanager.Pause, error) {
	return n.registry.Pause(ctx, q)
}

// Resume implements Pauses.
func (n *Node) Resume(ctx context.Context, q storemanager.ResumeRequest) error {
	return n.registry.Resume(ctx, q)
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

// Audit implements Audit.
func (n *Node) Audit(ctx context.Context, q storemanager.AuditQuery) (storemanager.AuditPage, error) {
	return n.registry.Audit(ctx, q)
}

// NoteBatch implements Audit.
func (n *Node) NoteBatch(ctx context.Context, b storemanager.Batch) error {
	return n.registry.NoteBatch(ctx, b)
}

// NoteSettings implements Audit.
func (n *Node) NoteSettings(ctx context.Context, q storemanager.Settings) error {
	return n.registry.NoteSettings(ctx, q)
}
