package notifier_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"storekeeper/notifier"
)

// An Auth Worker makes one Notifier at its start, hands each event to Go, which returns at once, and closes the Notifier when it ends.
func Example() {
	edge := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println(string(body))
	}))
	defer edge.Close()

	n, err := notifier.New(notifier.Options{
		URL:    edge.URL + "/webhooks/workspaces",
		Secret: "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", // comes from the environment
	})
	if err != nil {
		panic(err)
	}
	n.Go(context.Background(), notifier.Event{
		Type: notifier.Created, InstanceID: "ws-1", UserID: "user-1", Timestamp: time.Date(2026, 11, 23, 18, 29, 10, 28e6, time.UTC),
	})

	shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Close(shutdown); err != nil {
		fmt.Println(err) // events were dropped; Storekeeper finds what it missed
	}
	// Output: {"event":"workspace.created","instanceId":"ws-1","userId":"user-1","timestamp":"2026-11-23T18:29:10.028Z"}
}

// Deliver is for a caller that wants to know what came of the event.
func ExampleNotifier_Deliver() {
	requests := 0
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable) // it is tried again
			return
		}
		_, _ = io.WriteString(w, `{"status":"deletion_scheduled"}`)
	}))
	defer edge.Close()

	n, err := notifier.New(notifier.Options{URL: edge.URL, Secret: "a-shared-secret", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer func() { _ = n.Close(context.Background()) }()
	answer, err := n.Deliver(context.Background(), notifier.Event{
		Type: notifier.Deleted, InstanceID: "ws-1", UserID: "user-1", Timestamp: time.Date(2026, 11, 23, 18, 29, 10, 28e6, time.UTC),
	})
	fmt.Println(answer.Status, answer.Attempts, string(answer.Body), err)
	// Output: 200 2 {"status":"deletion_scheduled"} <nil>
}
