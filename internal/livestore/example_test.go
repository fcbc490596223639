package livestore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"storekeeper/internal/demo"
	"storekeeper/internal/livestore"
)

// A client pulls a store's events until it has seen two, and keeps the cursor from which the next pull goes on.
func ExampleConn_Pull() {
	ctx := context.Background()
	url, stop := exampleBackend(ctx)
	defer stop()

	conn, err := livestore.Dial(ctx, livestore.Options{URL: url, StoreID: "store-1"})
	if err != nil {
		panic(err)
	}
	errEnough := errors.New("enough")
	var cursor livestore.Cursor // the zero Cursor is the beginning
	err = conn.Pull(ctx, cursor, func(_ context.Context, page livestore.Page) error {
		for _, e := range page.Events {
			fmt.Println(e.Seq, e.Name, string(e.Args))
			cursor = livestore.Cursor{BackendID: page.BackendID, Seq: e.Seq}
		}
		if cursor.Seq == 2 {
			return errEnough // it ends the pull, and with it the connection
		}
		return nil
	})
	fmt.Println(err, "at event", cursor.Seq)
	// Output:
	// 1 v1.NoteAdded {"text":"hello"}
	// 2 v1.NoteRemoved {}
	// enough at event 2
}

// A push must follow the store's head. When it does not, the error says where the head is.
func ExampleConn_Push() {
	ctx := context.Background()
	url, stop := exampleBackend(ctx) // the head is event 2
	defer stop()

	conn, err := livestore.Dial(ctx, livestore.Options{URL: url, StoreID: "store-1"})
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	event := livestore.Event{Name: "v1.NoteAdded", Args: json.RawMessage(`{}`), Seq: 1, Parent: 0, ClientID: "c", SessionID: "s"}
	err = conn.Push(ctx, "", []livestore.Event{event})
	if ahead, ok := errors.AsType[*livestore.ServerAheadError](err); ok {
		event.Parent, event.Seq = ahead.Minimum, ahead.Minimum+1
		err = conn.Push(ctx, "", []livestore.Event{event})
	}
	fmt.Println(event.Seq, err)
	// Output: 3 <nil>
}

// exampleBackend starts a sync backend on which store-1 has two events.
func exampleBackend(ctx context.Context) (url string, stop func()) {
	backend, err := demo.StartSyncBackend(ctx, demo.SyncBackendOptions{})
	if err != nil {
		panic(err)
	}
	conn, err := livestore.Dial(ctx, livestore.Options{URL: backend.URL(), StoreID: "store-1"})
	if err != nil {
		panic(err)
	}
	err = conn.Push(ctx, "", []livestore.Event{
		{Name: "v1.NoteAdded", Args: json.RawMessage(`{"text":"hello"}`), Seq: 1, Parent: 0, ClientID: "c", SessionID: "s"},
		{Name: "v1.NoteRemoved", Args: json.RawMessage(`{}`), Seq: 2, Parent: 1, ClientID: "c", SessionID: "s"},
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		panic(err)
	}
	return backend.URL(), func() {
		if err := backend.Stop(ctx); err != nil {
			fmt.Println(err)
		}
	}
}
