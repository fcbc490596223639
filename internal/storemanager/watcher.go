package storemanager

import (
	"context"
	"time"
)

// Watcher tells of changes of connections as they happen. A store manager with monitors of its own is one (monitor.Supervisor), and so is a client
// (storehttp.Client).
type Watcher interface {
	// Watch calls fn with the changes after the one whose id is after, in their order, and goes on with new ones. It ends when ctx ends, when
	// fn returns an error, or when the store manager shuts down (ErrShutdown), and returns that error. An empty after means from now on.
	//
	// Only the newest changes are kept, and none outlasts the process. Where changes are missing, fn is called with Change.Lost, and then with
	// what is newer. With an empty after that is its first call. Whoever lists the stores at each of these calls knows all of them at any time.
	Watch(ctx context.Context, after string, fn func(Change) error) error
}

// Change is a change of the connection of one store. A Watcher tells of it; ConnectionChange is its form in the history of a connection.
type Change struct {
	// ID is the place in the order of changes. Watch goes on from it.
	ID string `json:"id"`
	// Lost: changes before this point are unknown, so list the stores. All fields but ID are empty then.
	Lost bool `json:"lost,omitempty"`

	StoreID string `json:"storeId,omitempty"`
	// Connection is the new state, and Previous the one before. ConnectionStopped stands for a store without a monitor.
	Connection ConnectionState `json:"connection,omitempty"`
	Previous   ConnectionState `json:"previous,omitempty"`
	At         time.Time       `json:"at,omitzero"`
	// Reason is safe to show; "" where there is nothing to explain.
	Reason string `json:"reason,omitempty"`
}
