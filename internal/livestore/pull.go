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

// Pull subscribes to the store's events after the cursor and calls handle with each page of them. The calls come one at a time,
// in the goroutine that called Pull. The first page comes at once, even when it is empty. handle's context ends with the connection.
//
// Pull returns when ctx ends, when handle returns an error, or when the subscription ends. It drops the connection then. It never
// returns nil: the error is ctx's, handle's, ErrBackendIDMismatch, ErrSilence, ErrProtocol, ErrTooLarge, ErrDisconnected,
// ErrBehind, ErrClosed, a *RemoteError or a *SequenceError.
//
// A slow handler slows the backend down: a page is acknowledged when handle has returned nil, and the backend sends no further page
// before. Live events come regardless. Those that come while handle is busy wait here, in some 256 KiB, and then at the backend for a
// fifth of Options.SilenceTimeout. When handle has taken nothing by then, the events that follow are thrown away, and Pull ends with
// ErrBehind once handle has had all that waited. The caller dials again and pulls from its cursor. But for that fifth, the
// connection is read while handle is busy, so that pongs come in and its end is noticed.
//
// Live events also come while earlier pages are still due, so they may run ahead of what handle has seen. Pull leaves such events
// out, because the backend brings them again with the pages. If it does not, Pull ends with a *SequenceError after
// Options.SilenceTimeout.
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
		r.discard() // only now, when nothing reads any more
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

// sequence checks the order of a pull's events.
type sequence struct {
	backendID string // empty until the first page
	start     int64  // where the pull began
	head      int64  // the Seq of the last event handed over
	due       bool   // the backend owes a page: the first one, or one more before the events are live
	ahead     *Event // the last of the events that ran ahead of the pages; nil when there is none
}

// check removes from the page the events that were handed over before, and moves on past the others. It returns false for a page
// that has run ahead of pages that are still due: handle does not get it.
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
	for len(p.Events) > 0 && p.Events[0].Seq <= s.head { // handed over before
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

// overdue returns the error for a page that is due and does not come.
func (s *sequence) overdue() error {
	if s.ahead != nil {
		return s.broken(*s.ahead)
	}
	return ErrSilence
}
