package livestore

import (
	"context"
	"encoding/json"
)

type pushRequest struct {
	StoreID   string          `json:"storeId"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Batch     []Event         `json:"batch"`
	BackendID option          `json:"backendId"`
}

// Push appends events to the store, all or none of them; without any it does nothing. The Parent of the first one must be the store's head, or the answer
// is a *ServerAheadError. An empty backendID lets the push go to whatever incarnation the store is in; another one than the
// store's is ErrBackendIDMismatch. Backends take at most 100 events and about 900 kB at a time.
//
// After any other error the push may have been done or not. When ctx ends while the request is being written, the connection
// is dropped; when it ends later, it is not.
func (c *Conn) Push(ctx context.Context, backendID string, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	backend := option{Tag: "None"}
	if backendID != "" {
		backend = option{Tag: "Some", Value: backendID}
	}
	r, err := c.ask(ctx, "SyncWsRpc.Push", pushRequest{c.storeID, json.RawMessage(c.payload), events, backend}, false)
	if err != nil {
		return err
	}
	defer c.forget(r.id)
	select {
	case <-r.came:
		a, _ := r.take()
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.up.Done():
		return c.drop(ErrClosed) // the first reason counts
	}
}
