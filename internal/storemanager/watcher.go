package storemanager

import (
	"context"
	"time"
)

// Watcher tells of changes of connections as they happen. Supervisor and Client are Watchers.
type Watcher interface {
	// Watch calls fn with the changes after the one with the id after, in their order, and goes on with new ones until ctx ends,
	// fn returns an error, or the store manager shuts down (ErrShutdown); it returns that error. An empty after means from now
	// on. Only the newest changes are kept, and none outlasts the process: where changes are missing, and so at the beginning
	// with an empty after, fn is called with Change.Lost and then with what is newer. To list the stores at each of these calls
	// is therefore enough to know all of them at any time.
	Watch(ctx context.Context, after string, fn func(Change) error) error
}

// Change is a change of the connection of one store.
type Change struct {
	// ID is the place in the order of changes, to go on from.
	ID string `json:"id"`
	// Lost: changes before this point are unknown, so list the stores. All other fields but ID are empty then.
	Lost bool `json:"lost,omitempty"`

	StoreID string `json:"storeId,omitempty"`
	// Connection is the new state, Previous the one before; ConnectionStopped stands for a store without a monitor.
	Connection ConnectionState `json:"connection,omitempty"`
	Previous   ConnectionState `json:"previous,omitempty"`
	At         time.Time       `json:"at,omitzero"`
	// Reason is safe to show; "" where there is nothing to explain.
	Reason string `json:"reason,omitempty"`
}
