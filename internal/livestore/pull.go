package livestore

import (
	"context"
	"encoding/json"
	"time"
)

type pullRequest struct {
	StoreID string          `json:"storeId"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Live    bool            `json:"live"`
	Cursor  option          `json:"cursor"`
}

// Pull subscribes to the store's events after the cursor and calls handle with each page of them, one call at a time, from
// its own goroutine. The first page comes at once, be it empty. handle's context ends with the connection.
//
// The backend is acknowledged after handle returned nil, and sends no further page before, so a slow handler slows it down. It
// does not hold back live events: those that come while handle is busy wait here, in some 256 KiB, and then for a fifth of
// Options.SilenceTimeout at the backend. When handle has taken nothing by then, it hangs: the rest is thrown away, and Pull ends
// with ErrBehind once handle has had all that waited; the caller dials again and pulls from its cursor. Meanwhile the
// connection is read on, so that pings are answered and its end is noticed.
//
// Pull returns when ctx ends, when handle returns an error, or when the subscription does, and never nil; the connection is
// dropped then. The error is ctx's, handle's, ErrBackendIDMismatch, ErrSilence, ErrProtocol, ErrTooLarge, ErrDisconnected,
// ErrBehind, ErrClosed, a *RemoteError or a *SequenceError.
//
// Live events come even while earlier pages are still due, so they may run ahead of what handle has seen. They are left out
// then, for the backend brings them again with the pages; a *SequenceError after Options.SilenceTimeout says so should it not.
func (c *Conn) Pull(ctx context.Context, from Cursor, handle func(context.Context, Page) error) error {
	stop := context.AfterFunc(ctx, func() { _ = c.drop(ctx.Err()) })
	defer stop()
	cursor := option{Tag: "None"}
	if from != (Cursor{}) {
		cursor = option{Tag: "Some", Value: from}
	}
	r, err := c.ask(ctx, "SyncWsRpc.Pull", pullRequest{c.storeID, json.RawMessage(c.payload), true, cursor}, true)
	if err != nil {
		_ = c.Close()
		return err
	}
	defer func() {
		_ = c.Close()
		r.discard() // not before: the reader is gone now
	}()
	seq := sequence{backendID: from.BackendID, start: from.Seq, head: from.Seq, due: true}
	due := time.NewTimer(c.silence)
	defer due.Stop()
	ack := []byte(`{"_tag":"` + tagAck + `","requestId":"` + r.id + `"}`)
	for {
		select {
		case <-r.came:
		case <-due.C:
			return c.drop(seq.overdue())
		case <-c.up.Done():
			return c.drop(ErrClosed) // the first reason counts
		}
		for a, ok := r.take(); ok; a, ok = r.take() {
			if a.ended {
				return c.drop(a.err)
			}
			for _, page := range a.pages {
				wanted, err := seq.check(&page)
				if err == nil && wanted {
					err = handle(c.up, page)
				}
				if err != nil {
					return c.drop(err)
				}
			}
			if err := c.write(c.ctx, ack); err != nil {
				return c.drop(err)
			}
		}
		due.Stop()
		if seq.due {
			due.Reset(c.silence)
		}
	}
}

// sequence follows the order of a pull's events.
type sequence struct {
	backendID string // empty until the first page
	start     int64  // where the pull began
	head      int64  // the Seq of the last event handed over
	due       bool   // the backend owes a page: the first one, or another one before the events are live
	ahead     *Event // of the events that ran ahead of the pages, the last
}

// check takes from the page what was handed over before and moves on past the rest. A page that is ahead of others that are
// due is not wanted.
func (s *sequence) check(p *Page) (wanted bool, _ error) {
	if s.backendID != "" && p.BackendID != s.backendID {
		return false, ErrBackendIDMismatch
	}
	s.backendID = p.BackendID
	for i, e := range p.Events {
		if e.Seq <= e.Parent || i > 0 && e.Parent != p.Events[i-1].Seq || e.Seq <= s.start {
			return false, s.broken(e)
		}
	}
	for len(p.Events) > 0 && p.Events[0].Seq <= s.head { // a repetition
		p.Events = p.Events[1:]
	}
	if len(p.Events) > 0 {
		first, last := p.Events[0], p.Events[len(p.Events)-1]
		switch {
		case first.Parent == s.head:
			s.head = last.Seq
		case first.Parent > s.head && s.due:
			if s.ahead == nil || s.ahead.Seq < last.Seq {
				s.ahead = &last
			}
			return false, nil
		default:
			return false, s.broken(first)
		}
	}
	if s.ahead != nil && s.ahead.Seq <= s.head {
		s.ahead = nil
	}
	s.due = p.Remaining != 0 || s.ahead != nil
	return true, nil
}

func (s *sequence) broken(e Event) error {
	return &SequenceError{Head: s.head, Seq: e.Seq, Parent: e.Parent}
}

// overdue is the error when a page that is due does not come.
func (s *sequence) overdue() error {
	if s.ahead != nil {
		return s.broken(*s.ahead)
	}
	return ErrSilence
}
