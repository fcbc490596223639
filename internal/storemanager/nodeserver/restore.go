package nodeserver

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/registry"
)

// SetPins is that of the Registry; the server is told soon.
func (n *Node) SetPins(ctx context.Context, ids []string) error {
	if err := n.registry.SetPins(ctx, ids); err != nil {
		return err
	}
	n.restoreSoon()
	return nil
}

// RestoreDeletion is that of the Registry; the server is told soon.
func (n *Node) RestoreDeletion(ctx context.Context, q storemanager.RestoreRequest) (storemanager.Store, error) {
	st, err := n.registry.RestoreDeletion(ctx, q)
	if err != nil {
		return storemanager.Store{}, err
	}
	n.restoreSoon()
	if st.State == storemanager.StateMonitored {
		st.Connection = storemanager.ConnectionConnecting
	}
	return st, nil
}

// restoreSoon has keep restore now.
func (n *Node) restoreSoon() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// keep restores until Close. A server that restarts has forgotten what it was told, and nobody else would ensure those stores again that are in no
// list of the Auth Worker: the pinned, held and pending ones.
func (n *Node) keep() {
	for {
		if err := n.restore(n.ctx); err != nil && n.ctx.Err() == nil {
			n.log.Warn("the Node server was not compared with the registry", zap.Error(err))
		}
		select {
		case <-n.wake:
		case <-time.After(n.restoreEvery):
		case <-n.ctx.Done():
			return
		}
	}
}

// restore makes the server monitor the stores that the registry has and the server has not, but for those that are not due yet.
func (n *Node) restore(ctx context.Context) error {
	ids, err := n.registry.MonitoredIDs(ctx)
	if err != nil {
		return err
	}
	l, err := n.listing(ctx)
	if err != nil {
		return err
	}
	absent := slices.DeleteFunc(ids, func(id string) bool {
		_, ok := l.stores[id]
		return ok
	})
	errs := make([]error, len(absent))
	n.each(len(absent), func(i int) {
		_, errs[i] = n.repair(ctx, storemanager.EnsureRequest{StoreID: absent[i], RequestID: registry.RestoreRequestID},
			storemanager.EnsureResult{StoreID: absent[i], Outcome: storemanager.EnsureExists, Connection: storemanager.ConnectionConnecting})
	})
	if ctx.Err() == nil {
		n.logFailures("the Node server did not take all stores of the registry", errs)
	}
	return nil
}
