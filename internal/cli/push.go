package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/livestore"
	"storekeeper/internal/storemanager"
)

const (
	// defaultSyncURL is where cmd/standalone --demo has its sync backend.
	defaultSyncURL = "ws://127.0.0.1:8787"
	// maxPushed is how many events sync backends take at a time, all of them or none.
	maxPushed = 100
	// pushAttempts is how often a push is tried: other clients may push at the same time and move the head.
	pushAttempts = 5
	// lookInterval is how often the edge is asked whether an event has arrived.
	lookInterval = 100 * time.Millisecond
)

// pushOptions are the flags of push.
type pushOptions struct {
	name, args string
	count      int
	syncURL    config.SyncURL
	noWait     bool
}

// pushResult is what push writes with --json.
type pushResult struct {
	InstanceID string `json:"instanceId"`
	// First and Last are the sequence numbers of the first and the last event.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// ProcessedMs is how many milliseconds after the push the last event was seen to be processed. Nil if that was not waited for, or
	// did not happen in time.
	ProcessedMs *int64 `json:"processedMs,omitempty"`
}

func (a *app) pushCommand() *cobra.Command {
	var o pushOptions
	var syncURL string
	cmd := &cobra.Command{
		Use:   "push ID",
		Short: "Push an event to a store, and watch it arrive",
		Long: `Push an event to the store's event stream at the sync backend, and wait until the store manager has processed it: for
trying an installation from end to end.

An event stays in the store for good, and each run pushes another one. Clients of the store must know events of that name,
so take a name that they know, or a store that nobody uses.

The sync backend is found by --sync-url, else by STORE_<ID>_SYNC_URL and LIVESTORE_SYNC_URL, else at ` + defaultSyncURL + `. It is
shown the token in the variable SERVER_BYPASS_TOKEN. --timeout bounds each request, and the waiting.`,
		Example: `  starter push ws-1
  starter push ws-1 --name v1.TodoCreated --args '{"id":"1","text":"milk"}'
  starter push ws-1 --count 100 --no-wait --sync-url wss://sync.example.com`,
		Args: storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.name == "":
				return exit.UsageError("--name must not be empty")
			case !json.Valid([]byte(o.args)):
				return exit.UsageError("--args is no JSON")
			case o.count < 1 || o.count > maxPushed:
				return exit.UsageError(fmt.Sprintf("--count must be 1 to %d", maxPushed))
			}
			if syncURL != "" {
				if err := o.syncURL.UnmarshalText([]byte(syncURL)); err != nil {
					return exit.UsageError("--sync-url is not accepted: " + err.Error())
				}
			}
			return a.push(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "v1.Demo", "the event's name")
	cmd.Flags().StringVar(&o.args, "args", "{}", "its arguments, as JSON")
	cmd.Flags().IntVar(&o.count, "count", 1, fmt.Sprintf("how many such events, up to %d", maxPushed))
	cmd.Flags().StringVar(&syncURL, "sync-url", "", "the sync backend's URL")
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait until it is processed; the edge is not asked at all")
	return cmd
}

// push pushes the events and waits for the last one. If the wait would be in vain, it fails before anything is pushed.
func (a *app) push(ctx context.Context, id string, o pushOptions) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	backend, err := a.syncBackend(id, o.syncURL)
	if err != nil {
		return err
	}
	conn, err := backend.dial(ctx)
	if err == nil {
		defer func() { _ = conn.Close() }()
		if !o.noWait {
			_, err = monitored(ctx, e, id)
		}
	}
	switch {
	case ctx.Err() != nil:
		return exit.Interruption("nothing was pushed", "")
	case err != nil:
		return err
	}
	began := time.Now()
	head, err := backend.push(ctx, conn, o)
	if err != nil {
		return err
	}
	res := pushResult{InstanceID: id, First: head + 1, Last: head + int64(o.count)}
	if !a.json {
		a.showPushed(res)
	}
	if !o.noWait {
		if err = a.processed(ctx, e, id, res.Last); err == nil {
			took := time.Since(began).Milliseconds()
			res.ProcessedMs = &took
		}
	}
	switch {
	case a.json: // one JSON value, written even if the wait failed
		a.writeJSON(res)
	case res.ProcessedMs != nil:
		a.printf("  processed within %d ms\n", *res.ProcessedMs)
	}
	return err
}

func (a *app) showPushed(res pushResult) {
	if res.First == res.Last {
		a.printf("%s: event %d pushed\n", res.InstanceID, res.Last)
	} else {
		a.printf("%s: events %d to %d pushed\n", res.InstanceID, res.First, res.Last)
	}
}

// syncBackend is where a store's events are.
type syncBackend struct {
	livestore.Options
	timeout time.Duration
}

// syncBackend returns the backend that the flag or the environment names. It has not been asked anything yet.
func (a *app) syncBackend(id string, flag config.SyncURL) (*syncBackend, error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	return &syncBackend{livestore.Options{
		URL:     cmp.Or(string(flag), cfg.StoreSyncURL(id), defaultSyncURL),
		StoreID: id,
		Payload: map[string]string{"serverBypass": cfg.BypassToken(), "instanceId": id},
	}, a.timeout}, nil
}

// where is the URL without a query, which may hold what nobody else should see.
func (b *syncBackend) where() string {
	u, err := url.Parse(b.URL)
	if err != nil {
		return "its URL"
	}
	return u.Scheme + "://" + u.Host
}

func (b *syncBackend) dial(ctx context.Context) (*livestore.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	conn, err := livestore.Dial(ctx, b.Options)
	if err == nil {
		return conn, nil
	}
	refused, ok := errors.AsType[*livestore.DialError](err)
	if ok && slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, refused.Status) {
		return nil, exit.Fail(
			exit.Refused, "unauthorized", fmt.Sprintf("the sync backend at %s refused the token with status %d", b.where(), refused.Status),
			"SERVER_BYPASS_TOKEN must be the one that it knows",
		)
	}
	return nil, exit.Fail(
		exit.Unreachable, "unreachable", fmt.Sprintf("the sync backend at %s can't be reached (%s)", b.where(), exit.Innermost(err)),
		"check that it runs, and --sync-url or LIVESTORE_SYNC_URL",
	)
}

// push appends the events and returns the head that they follow. It guesses the head; a backend that refuses the guess names its head.
func (b *syncBackend) push(ctx context.Context, conn *livestore.Conn, o pushOptions) (head int64, _ error) {
	pushCtx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := conn.Push(pushCtx, "", o.events(head))
		ahead, overtaken := errors.AsType[*livestore.ServerAheadError](err)
		switch {
		case err == nil:
			return head, nil
		case overtaken && attempt < pushAttempts:
			head = ahead.Minimum
		case overtaken:
			return 0, exit.Fail(exit.Refused, "overtaken", "nothing was pushed: other clients were faster, several times", "try again")
		default:
			return 0, b.pushFailure(ctx, err)
		}
	}
}

func (b *syncBackend) pushFailure(ctx context.Context, err error) error {
	const unknown = "whether the event was pushed is not known"
	if ctx.Err() != nil {
		return exit.Interruption(unknown, "another run pushes another one")
	}
	return exit.Fail(
		exit.Unreachable, "unreachable", fmt.Sprintf("the sync backend at %s did not say that it took the event (%s)", b.where(), exit.Innermost(err)),
		unknown+", and another run pushes another one",
	)
}

// events are those to push after the head.
func (o pushOptions) events(head int64) []livestore.Event {
	all := make([]livestore.Event, o.count)
	for i := range all {
		all[i] = livestore.Event{
			Name: o.name, Args: json.RawMessage(o.args), Seq: head + 1, Parent: head, ClientID: "starter", SessionID: "starter",
		}
		head++
	}
	return all
}

// monitored returns the store, or a failure if it can't process events.
func monitored(ctx context.Context, e *edgeclient.Client, id string) (s api.Store, _ error) {
	const instead = "; --no-wait pushes without the edge"
	raw, err := e.Store(ctx, id)
	if err == nil && json.Unmarshal(raw, &s) != nil {
		err = e.Unreachable("does not answer as Storekeeper does")
	}
	switch {
	case errors.Is(err, edgeclient.ErrNotFound), err == nil && s.Status == storemanager.ConnectionStopped:
		return s, exit.Fail(exit.NotFound, "not_found", "no store "+id+" is monitored", "starter provision "+id+" has it monitored"+instead)
	case err != nil:
		return s, err
	case s.Status == storemanager.ConnectionNotConfigured:
		return s, exit.Fail(
			exit.Refused, "not_configured", "the store manager has no sync backend to monitor "+id+" at",
			"set LIVESTORE_SYNC_URL for it"+instead,
		)
	}
	return s, nil
}

// processed waits until the edge says that the event is processed.
func (a *app) processed(ctx context.Context, e *edgeclient.Client, id string, seq int64) error {
	waitCtx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	why := "the edge did not answer"
	for {
		s, err := monitored(waitCtx, e, id)
		switch {
		case waitCtx.Err() != nil: // the error says only that time is up
		case err != nil:
			why = err.Error()
		case s.Processed >= seq:
			return nil
		default:
			why = fmt.Sprintf("the store's connection is %s, and event %d the newest that it processed", s.Status, s.Processed)
		}
		select {
		case <-ticker.C:
		case <-waitCtx.Done():
			pushed := fmt.Sprintf("event %d is at the sync backend", seq)
			if ctx.Err() != nil {
				return exit.Interruption(pushed, look(id))
			}
			return exit.Fail(exit.Accepted, "accepted", fmt.Sprintf("%s, but was not processed within %s: %s", pushed, a.timeout, why), look(id))
		}
	}
}
