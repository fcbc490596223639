// Package postgres keeps Temporal's data in two databases of a PostgreSQL server. It makes them, brings their schemas up to date, and holds
// a lock so that no second process uses them.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/server/common/config"
	"go.uber.org/zap"
)

const (
	// Visibility has a database of its own, because both of Temporal's schemas have tables of the same names. Temporal's own images use
	// this name too.
	visibilitySuffix = "_visibility"
	// PostgreSQL shortens longer names without a word.
	maxDatabaseName = 63

	// Temporal runs on PostgreSQL 12 and later.
	minPostgres = 120000

	// Shards is the number of parts that Temporal can write in parallel. With one part, each commit waits for the one before it. The number
	// can never be changed. 4 is what Temporal's own images begin with, so that an installation can move to them. More shards would allow
	// more parallel writes.
	Shards = 4
	// Each of Temporal's four services has connections of its own. With these limits all of them, and the lock's, fit into the 100
	// connections that PostgreSQL allows by default.
	maxExecutionsConns, maxVisibilityConns = 15, 5
	// maxConnLifetime ends each connection after a while, so that none stays with a server that has been replaced.
	maxConnLifetime = time.Hour

	// Patience is how long a start waits for PostgreSQL, which may be starting too. After that, whoever supervises the process should hear
	// of it.
	Patience       = time.Minute
	reachInterval  = time.Second
	progressEvery  = 10 * time.Second
	connectTimeout = 5 * time.Second

	// beatInterval is how often the connection that holds the lock is used. Its end is noticed at once.
	beatInterval = 5 * time.Second
	// lockPatience leaves PostgreSQL time to notice that a process has just been killed.
	lockPatience = 5 * time.Second
	// The lock is an advisory lock of the database, held by a session. The class is "Stkr"; the object is the first number, and no other is
	// needed.
	lockClass, lockObject = 0x53746b72, 1
)

// Why Temporal can do nothing at the moment.
var (
	errAway     = errors.New("PostgreSQL can't be reached")
	errReadOnly = errors.New("PostgreSQL is read-only")
)

// errNotOurs: another server may use the database now, or it has become another database. Going on would do harm.
var errNotOurs = errors.New("the database is not ours any more")

// Databases are Temporal's two databases on a PostgreSQL server, and the lock that keeps other processes of this kind away.
type Databases struct {
	executions, visibility database
	log                    *zap.Logger

	name    string // the name of the session that holds the lock
	lock    *pgx.Conn
	trouble atomic.Pointer[error]
	failed  chan error
	cancel  context.CancelFunc
	watched chan struct{}
}

// Open waits for PostgreSQL, at most for patience, takes the lock, and brings both schemas up to date. The caller must call Close. The
// error never shows a password.
func Open(ctx context.Context, rawURL string, patience time.Duration, log *zap.Logger) (_ *Databases, err error) {
	p := &Databases{log: log, name: "storekeeper " + rand.Text(), failed: make(chan error, 1), watched: make(chan struct{})}
	if p.executions, p.visibility, err = parse(rawURL); err != nil {
		return nil, err
	}
	err = p.reach(ctx, patience)
	if err == nil {
		err = p.prepare(ctx)
	}
	if err != nil {
		p.unlock(ctx)
		return nil, fmt.Errorf("PostgreSQL, %s: %w", p.executions.where(), oneLine{err})
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	go p.watch(watch)
	return p, nil
}

// Executions is how Temporal connects to the database of the executions.
func (p *Databases) Executions() *config.SQL { return p.executions.sql() }

// Visibility is how Temporal connects to the database of visibility, which its lists are made from.
func (p *Databases) Visibility() *config.SQL { return p.visibility.sql() }

// Trouble is why Temporal can do nothing at the moment, in a sentence of a fixed set; nil when nothing is known to be wrong.
func (p *Databases) Trouble() error {
	if trouble := p.trouble.Load(); trouble != nil {
		return *trouble
	}
	return nil
}

// Failed receives why Temporal must be stopped: another process has the lock, or the databases came back as other ones.
func (p *Databases) Failed() <-chan error { return p.failed }

// Close gives the lock back. Temporal must have stopped.
func (p *Databases) Close(ctx context.Context) {
	p.cancel()
	<-p.watched
	p.unlock(ctx)
}

// prepare looks at both databases before it changes either.
func (p *Databases) prepare(ctx context.Context) error {
	if err := checkServer(ctx, p.lock); err != nil {
		return err
	}
	executions, err := p.executions.installed(ctx, p.lock)
	if err != nil {
		return err
	}
	if executions != "" {
		if err := checkNoOtherServer(ctx, p.lock); err != nil {
			return err
		}
	}
	conn, err := p.open(ctx, p.visibility)
	if err != nil {
		return err
	}
	visibility, err := p.visibility.installed(ctx, conn)
	if err == nil {
		err = checkServer(ctx, conn)
	}
	_ = conn.Close(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", p.visibility.where(), err)
	}
	if err := p.executions.bringUpToDate(executions, p.log); err != nil {
		return err
	}
	return p.visibility.bringUpToDate(visibility, p.log)
}

func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var readOnly bool
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('transaction_read_only')::bool").
		Scan(&version, &readOnly)
	switch {
	case err != nil:
		return err
	case version < minPostgres:
		return fmt.Errorf("it is PostgreSQL %d, and Temporal needs at least %d", version/10000, minPostgres/10000)
	case readOnly:
		return errors.New("it is read-only: it may be a standby, or default_transaction_read_only is on")
	}
	return nil
}

// checkNoOtherServer looks for servers of Temporal's own images, which take no lock. Each writes every 10 s that it lives, and counts as
// gone after 20 s.
func checkNoOtherServer(ctx context.Context, conn *pgx.Conn) error {
	var address string
	err := conn.QueryRow(ctx, `SELECT rpc_address FROM cluster_membership
		WHERE last_heartbeat > now() AT TIME ZONE 'UTC' - interval '20 s' ORDER BY last_heartbeat DESC LIMIT 1`).Scan(&address)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || code(err) == "42P01": // the schema is older than that table
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("another Temporal server, at %s, has used it within the last 20 s: stop that one", address)
}
