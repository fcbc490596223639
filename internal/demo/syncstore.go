package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	syncPageSize  = 100     // events in a chunk, at most
	syncPageBytes = 900_000 // bytes of a chunk's events, at most
)

const syncSchema = `
CREATE TABLE IF NOT EXISTS backends (store_id TEXT PRIMARY KEY, backend_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
	store_id TEXT NOT NULL, seq INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (store_id, seq)
) WITHOUT ROWID;`

// syncEvent is an event as a client pushes it.
type syncEvent struct {
	Name      string          `json:"name"`
	Args      json.RawMessage `json:"args"`
	Seq       int64           `json:"seqNum"`
	Parent    int64           `json:"parentSeqNum"`
	ClientID  string          `json:"clientId"`
	SessionID string          `json:"sessionId"`
}

// syncStore is a store's events and the pulls that wait for more.
type syncStore struct {
	id string

	mu        sync.Mutex
	backendID string
	log       []json.RawMessage // log[n-1] is event n in the form of a chunk, with its metadata
	pulls     map[*syncPull]struct{}
}

// syncPull is a live pull. The store's lock guards its fields.
//
// It is sent two things: the pages of the events that there were when it began, each after the acknowledgement of the page before, and, at
// once, the events that are pushed meanwhile. So events may come before earlier ones, and twice, as they do from the real backend.
type syncPull struct {
	conn     *syncConn
	id       string // the request's id
	page     int    // pages are sent up to this event
	total    int    // how many events there were when the pull began
	paging   bool   // there may be more pages
	first    bool   // the first page has not been sent; it is sent even if it is empty
	acked    bool   // the next page may be sent
	live     int    // pushed events are sent up to this one
	flushing bool   // a goroutine is sending
}

// syncChunk is the content of one message.
type syncChunk struct {
	batch     []json.RawMessage
	remaining int
	backendID string
}

func newBackendID() string { return rand.Text()[:21] }

// next returns the pull's next chunk. It returns false when there is nothing to send; then the pull has no sending goroutine any more.
func (s *syncStore) next(p *syncPull) (syncChunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, subscribed := s.pulls[p]; !subscribed {
		p.flushing = false
		return syncChunk{}, false
	}
	if p.paging && p.acked {
		p.acked = false
		batch := cutPage(s.log[p.page:])
		p.page += len(batch)
		p.paging = len(batch) > 0
		if p.paging || p.first {
			p.first = false
			return syncChunk{batch, max(0, p.total-p.page), s.backendID}, true
		}
	}
	if p.live < len(s.log) {
		batch := cutPage(s.log[p.live:])
		p.live += len(batch)
		return syncChunk{batch, 0, s.backendID}, true
	}
	p.flushing = false
	return syncChunk{}, false
}

func cutPage(log []json.RawMessage) []json.RawMessage {
	size := 0
	for i, event := range log {
		if size += len(event); i == syncPageSize || i > 0 && size > syncPageBytes {
			return log[:i]
		}
	}
	return log
}

// subscribe adds a pull of the events that follow the event numbered after, in the incarnation backendID. An empty backendID stands for the
// beginning of any incarnation.
func (s *syncStore) subscribe(p *syncPull, backendID string, after int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if backendID != "" && backendID != s.backendID {
		return &syncMismatch{expected: s.backendID, received: backendID}
	}
	p.page = int(min(max(after, 0), int64(len(s.log))))
	p.total, p.live = len(s.log), len(s.log)
	p.paging, p.first, p.acked = true, true, true
	s.pulls[p] = struct{}{}
	return nil
}

// append adds pushed events, all or none, and sends them to the pulls.
func (s *syncStore) append(ctx context.Context, db *syncDatabase, backendID string, batch []syncEvent) error {
	if len(batch) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if backendID != "" && backendID != s.backendID {
		return &syncMismatch{expected: s.backendID, received: backendID}
	}
	head := int64(len(s.log))
	if batch[0].Parent != head {
		return &syncAhead{minimum: head, provided: batch[0].Parent}
	}
	metadata := fmt.Sprintf(`{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":%q}}`,
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	entries := make([]json.RawMessage, len(batch))
	for i, event := range batch {
		if event.Parent != head || event.Seq != head+1 {
			return errors.New("the sequence numbers of the batch do not follow each other")
		}
		head++
		text, err := json.Marshal(event)
		if err != nil {
			return err
		}
		entries[i] = slices.Concat([]byte(`{"eventEncoded":`), text, []byte(`,"metadata":`), []byte(metadata), []byte(`}`))
	}
	if err := db.append(ctx, s, entries); err != nil {
		return err
	}
	s.log = append(s.log, entries...)
	for p := range s.pulls {
		p.flush()
	}
	return nil
}

// acknowledge allows the next page to be sent.
func (s *syncStore) acknowledge(p *syncPull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.acked = true
	p.flush()
}

func (s *syncStore) unsubscribe(p *syncPull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pulls, p)
}

func (s *syncStore) reset(ctx context.Context, db *syncDatabase) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := newBackendID()
	if err := db.reset(ctx, s.id, id); err != nil {
		return err
	}
	s.backendID, s.log = id, nil
	for p := range s.pulls {
		p.page, p.live, p.paging = 0, 0, false
	}
	return nil
}

// syncDatabase keeps events in a file. A nil one keeps nothing.
type syncDatabase struct{ db *sql.DB }

func openSyncDatabase(ctx context.Context, path string) (*syncDatabase, error) {
	db, err := openDatabase(ctx, path, "synchronous(NORMAL)", syncSchema)
	if err != nil {
		return nil, err
	}
	return &syncDatabase{db}, nil
}

func (d *syncDatabase) close() error {
	if d == nil {
		return nil
	}
	return d.db.Close()
}

// load fills a store that is new in memory. If the store is also new on disk, it gets a backend id.
func (d *syncDatabase) load(ctx context.Context, s *syncStore) error {
	if _, err := d.db.ExecContext(ctx, `INSERT INTO backends VALUES (?, ?) ON CONFLICT DO NOTHING`, s.id, newBackendID()); err != nil {
		return err
	}
	row := d.db.QueryRowContext(ctx, `SELECT backend_id FROM backends WHERE store_id = ?`, s.id)
	if err := row.Scan(&s.backendID); err != nil {
		return err
	}
	rows, err := d.db.QueryContext(ctx, `SELECT entry FROM events WHERE store_id = ? ORDER BY seq`, s.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var entry []byte
		if err := rows.Scan(&entry); err != nil {
			return err
		}
		s.log = append(s.log, entry)
	}
	return rows.Err()
}

func (d *syncDatabase) append(ctx context.Context, s *syncStore, entries []json.RawMessage) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for i, entry := range entries {
			if _, err := tx.ExecContext(ctx, `INSERT INTO events VALUES (?, ?, ?)`, s.id, len(s.log)+i+1, []byte(entry)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *syncDatabase) reset(ctx context.Context, storeID, backendID string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM events WHERE store_id = ?`, storeID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE backends SET backend_id = ? WHERE store_id = ?`, backendID, storeID)
		return err
	})
}

func (d *syncDatabase) tx(ctx context.Context, f func(*sql.Tx) error) error {
	if d == nil {
		return nil
	}
	return inTransaction(ctx, d.db, f)
}
