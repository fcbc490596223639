package authclient

import "context"

// Workspace is what a test sees of an entry.
type Workspace struct{ InstanceID, UserID string }

// List yields the entries in the order of the list: the stream that Sorted and Absent read.
func (c *Client) List(ctx context.Context, yield func(Workspace) error) (ListSummary, error) {
	got, err := c.fetch(ctx, fetch{yield: func(e *entry) error { return yield(Workspace{string(e.id), string(e.user)}) }})
	return got.ListSummary, err
}
