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

	"storekeeper/internal/dbfile"
)

const (
	syncPageSize  = 100     // events of a chunk
	syncPageBytes = 900_000 // of a chunk's events
)

// syncEvent is an event as it is pushed.
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
	log       []json.RawMessage // log[n-1] is event n as a chunk holds it: with its metadata
	pulls     map[*syncPull]struct{}
}

// syncPull is a live pull. Its fields belong to the store's lock.
//
// Two things are sent to it: the pages of what there was, each after the acknowledgement of the one before, and at once what
// is pushed meanwhile. So events may come before earlier ones, and twice, as they do from the real backend.
type syncPull struct {
	conn     *syncConn
	id       string // the request's
	page     int    // the pages are sent up to this event
	total    int    // what the pages held when the pull began
	paging   bool   // there may be pages to come
	first    bool   // the first page is still due; it comes even when it is empty
	acked    bool   // the next page may go
	live     int    // what is pushed is sent up to this event
	flushing bool   // a goroutine is sending
}

// syncChunk is what goes out in one message.
type syncChunk struct {
	batch     []json.RawMessage
	remaining int
	backendID string
}

func newBackendID() string { return rand.Text()[:21] }

// next returns the pull's next chunk, or false when there is nothing to send, and then nobody sends for it any more.
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

// subscribe adds a pull that follows event after of the incarnation backendID, which is empty for the beginning of any.
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

// append adds pushed events, all or none, and tells the pulls.
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

// acknowledge lets the next page go.
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

// syncDatabase keeps events. A nil one keeps nothing.
type syncDatabase struct{ db *sql.DB }

func openSyncDatabase(ctx context.Context, path string) (*syncDatabase, error) {
	if err := errors.Join(dbfile.Create(path), dbfile.Tighten(path)); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dbfile.URI(path)+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // nothing here can find another one busy
	if _, err := db.ExecContext(ctx, `
		CREATE TABLE IF NOT EXISTS backends (store_id TEXT PRIMARY KEY, backend_id TEXT NOT NULL);
		CREATE TABLE IF NOT EXISTS events (
			store_id TEXT NOT NULL, seq INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (store_id, seq)
		) WITHOUT ROWID;`); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &syncDatabase{db}, nil
}

func (d *syncDatabase) close() error {
	if d == nil {
		return nil
	}
	return d.db.Close()
}

// load fills a store that is new in memory, and gives it a backend id when it is new on disk too.
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
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
