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

// Push appends events to the store, all of them or none. Without events it does nothing. The Parent of the first one must be the Seq
// of the store's head, otherwise the error is a *ServerAheadError. An empty backendID means whatever incarnation the store has now;
// if it is not empty and not the store's, the error is ErrBackendIDMismatch. Backends take at most 100 events and about 900 kB
// at a time.
//
// After any other error the events may have been appended or not. When ctx ends while the request is being written, the connection
// is dropped. When ctx ends later, the connection stays.
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
