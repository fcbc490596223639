package storehttp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/storemanager"
)

const (
	eventStreamType    = "text/event-stream"
	streamHeartbeat    = 15 * time.Second
	streamWriteTimeout = 5 * time.Second // for one event; a caller that has not taken it by then reads no more, and must not delay a shutdown
)

// changes streams what Watch tells as server-sent events, until the Watcher ends or the caller goes.
func (s *server) changes(w http.ResponseWriter, r *http.Request) {
	if s.watcher == nil {
		s.fail(w, r, errNotSupported)
		return
	}
	// A browser that reconnects asks for the same URL again, and tells by the header what it has had since.
	after := cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after"))
	out := &eventStream{w: w, control: http.NewResponseController(w)}
	ctx, cancel := context.WithCancel(r.Context())
	var beating sync.WaitGroup
	defer func() {
		cancel()
		beating.Wait()
	}()
	err := out.open()
	if err == nil {
		beating.Go(func() {
			defer cancel()
			out.beat(ctx, s.heartbeat)
		})
		err = s.watcher.Watch(ctx, after, out.change)
	}
	// Only an intended end may look like the end of the stream. All others break the connection off.
	if !errors.Is(err, storemanager.ErrShutdown) {
		if r.Context().Err() == nil {
			s.log.Info("stream of changes broke off", zap.Error(err))
		}
		panic(http.ErrAbortHandler)
	}
}

// eventStream writes server-sent events. Each is on its way when the call returns.
type eventStream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	control *http.ResponseController
}

// open tells the caller at once that it is connected.
func (e *eventStream) open() error {
	h := e.w.Header()
	h.Set("Content-Type", eventStreamType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // some proxies would hold events back
	return e.send(":\n\n")
}

func (e *eventStream) change(c storemanager.Change) error {
	name := "change"
	if c.Lost {
		name = "lost"
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return e.send("id: " + c.ID + "\nevent: " + name + "\ndata: " + string(data) + "\n\n")
}

// beat sends comments until ctx ends or one can't be sent, because a silent stream looks like a dead one.
func (e *eventStream) beat(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if e.send(":\n\n") != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// send gives each write its own time-out, in place of that of the server for all of the answer.
func (e *eventStream) send(text string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(e.w, text); err != nil {
		return err
	}
	if err := e.control.Flush(); err != nil {
		return err
	}
	return e.control.SetWriteDeadline(time.Time{}) // or the end of the stream could come too late
}
