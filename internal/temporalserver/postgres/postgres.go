package temporalserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/iancoleman/strcase"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql/driver"
	"go.uber.org/zap"
)

const (
	// The visibility store has a database of its own, for both of Temporal's schemas have tables of the same names. Temporal's own
	// images name it so, too.
	visibilitySuffix = "_visibility"
	// PostgreSQL cuts longer names off without a word.
	maxDatabaseName = 63

	// Temporal runs on PostgreSQL 12 and later.
	minPostgres = 120000

	// Shards are what Temporal writes in parallel: with one, a commit waits for the one before it. Their number can never be changed.
	// 4 is what Temporal's own images begin with, so that an installation can move to them. More would take more in parallel.
	postgresShards = 4
	// Each of Temporal's four services has connections of its own. So all of them, and a lock, fit into the 100 that PostgreSQL
	// gives by default.
	maxExecutionsConns, maxVisibilityConns = 15, 5
	// A connection is not kept for ever: one to a server that has been replaced goes away by itself.
	maxConnLifetime = time.Hour

	// reachTimeout is how long a start waits for PostgreSQL, which may be starting too: after that whoever supervises the process
	// should hear of it.
	reachTimeout   = time.Minute
	reachInterval  = time.Second
	progressEvery  = 10 * time.Second
	connectTimeout = 5 * time.Second

	// beatInterval is how often the connection that holds the lock is used; its end is noticed at once.
	beatInterval = 5 * time.Second
	// lockPatience is for the server of a process that has just been killed to notice.
	lockPatience = 5 * time.Second
	// The lock is an advisory one of the database, held by a session. These are "Stkr" and the first that is needed.
	lockClass, lockObject = 0x53746b72, 1
)

// Why the engine can't work at the moment.
var (
	errAway     = errors.New("PostgreSQL can't be reached")
	errReadOnly = errors.New("PostgreSQL is read-only")
)

// errNotOurs: another server may use the database now, or it has become another one. Going on would do harm.
var errNotOurs = errors.New("the database is not ours any more")

// postgres is Temporal's two databases on a PostgreSQL server, and the lock that keeps other processes of this kind away.
type postgres struct {
	executions, visibility database
	log                    *zap.Logger

	name    string // of the session that holds the lock
	lock    *pgx.Conn
	trouble atomic.Pointer[error]
	failed  chan error
	cancel  context.CancelFunc
	watched chan struct{}
}

// database is one of the two. Neither its errors nor anything else here shows a password.
type database struct {
	schema
	dsn      string
	config   *pgx.ConnConfig
	maxConns int
}

// openPostgres waits until PostgreSQL is there, but not for longer than patience, takes the lock, and brings both schemas up to date.
// close must follow.
func openPostgres(ctx context.Context, rawURL string, patience time.Duration, log *zap.Logger) (_ *postgres, err error) {
	p := &postgres{log: log, name: "storekeeper " + rand.Text(), failed: make(chan error, 1), watched: make(chan struct{})}
	if p.executions, p.visibility, err = databases(rawURL); err != nil {
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

// databases are the one that the URL names and the one beside it.
func databases(rawURL string) (executions, visibility database, err error) {
	u, err := url.Parse(rawURL)
	if err != nil { // it would show the URL
		return executions, visibility, errors.New("the URL of PostgreSQL can't be parsed")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if name == "" {
		return executions, visibility, errors.New("the URL of PostgreSQL names no database: postgres://user@host/temporal")
	}
	if visible := name + visibilitySuffix; len(visible) > maxDatabaseName {
		return executions, visibility, fmt.Errorf("the name of the database is too long: %s has more than %d bytes", visible, maxDatabaseName)
	}
	if executions, err = newDatabase(*u, name, executionsSchema, maxExecutionsConns); err == nil {
		visibility, err = newDatabase(*u, name+visibilitySuffix, visibilitySchema, maxVisibilityConns)
	}
	return executions, visibility, err
}

func newDatabase(u url.URL, name string, s schema, maxConns int) (database, error) {
	query := u.Query()
	for _, param := range []string{"dbname", "database"} { // it would be that of both
		if query.Has(param) {
			return database{}, fmt.Errorf("the URL of PostgreSQL names the database in its path, so it can't have the parameter %s", param)
		}
	}
	for param, value := range map[string]string{
		"connect_timeout": strconv.Itoa(int(connectTimeout.Seconds())), "application_name": "storekeeper",
	} {
		if !query.Has(param) {
			query.Set(param, value)
		}
	}
	u.Path, u.RawPath, u.RawQuery = "/"+name, "", query.Encode()
	d := database{schema: s, dsn: u.String(), maxConns: maxConns}
	var err error
	if d.config, err = pgx.ParseConfig(d.dsn); err != nil {
		if cause := errors.Unwrap(err); cause != nil { // without the URL
			err = cause
		} else {
			err = errors.New("it can't be parsed")
		}
		return d, fmt.Errorf("the URL of PostgreSQL: %w", err)
	}
	return d, nil
}

func (d database) where() string {
	return fmt.Sprintf("database %s at %s", d.config.Database, net.JoinHostPort(d.config.Host, strconv.Itoa(int(d.config.Port))))
}

// sql is how Temporal gets its connections. It makes new ones by itself when it has lost some.
func (d database) sql() *config.SQL {
	return &config.SQL{
		PluginName:   postgresql.PluginNamePGX,
		DatabaseName: d.config.Database,
		// Temporal would put a URL together of its parts without escaping all of them.
		Connect: func(*config.SQL) (*sqlx.DB, error) {
			db, err := (&driver.PGXDriver{}).CreateConnection(d.dsn)
			if err != nil {
				return nil, err
			}
			db.SetMaxOpenConns(d.maxConns)
			db.SetMaxIdleConns(d.maxConns)
			db.SetConnMaxLifetime(maxConnLifetime)
			db.MapperFunc(strcase.ToSnake) // as its plugin does
			return db, nil
		},
	}
}

// stores are for serverOptions.
func (p *postgres) stores() stores {
	return stores{executions: p.executions.sql(), visibility: p.visibility.sql(), shards: postgresShards}
}

// reach takes the lock, once PostgreSQL is there. It waits for a server that starts or is out of connections, not for one that
// refuses.
func (p *postgres) reach(ctx context.Context, patience time.Duration) error {
	var said time.Time
	for deadline := time.Now().Add(patience); ; {
		err := p.takeLock(ctx, p.open) // bounded by the URL's connect_timeout
		switch {
		case err == nil, lasting(err):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case !time.Now().Before(deadline):
			return fmt.Errorf("it could not be reached for %s: start it, or correct the URL: %w", patience, err)
		case time.Since(said) >= progressEvery:
			said = time.Now()
			p.log.Warn("temporal's PostgreSQL can't be reached yet, waiting for it", zap.String("database", p.executions.where()), zap.Error(oneLine{err}))
		}
		select {
		case <-time.After(reachInterval):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// lasting says whether a failure would be there in a minute, too.
func lasting(err error) bool {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refusal.Code[:2] {
		case "08", "53", "57": // lost connections, a lack of resources, a server that starts or stops
			return false
		}
		return true
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, errInUse)
}

// open connects, and creates the database if there is none.
func (p *postgres) open(ctx context.Context, d database) (*pgx.Conn, error) {
	conn, err := connect(ctx, d)
	if code(err) != "3D000" { // invalid_catalog_name
		return conn, err
	}
	if err := p.create(ctx, d.config.Database); err != nil {
		return nil, err
	}
	p.log.Info("database of temporal created", zap.String("database", d.where()))
	return connect(ctx, d)
}

func connect(ctx context.Context, d database) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, d.config)
}

func (p *postgres) create(ctx context.Context, name string) error {
	admin := p.executions.config.Copy()
	admin.Database = "postgres"
	conn, err := pgx.ConnectConfig(ctx, admin)
	if err == nil {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		_ = conn.Close(ctx)
	}
	if err != nil && code(err) != "42P04" { // duplicate_database
		return fmt.Errorf("database %s is missing and can't be created (%w): have somebody who may run CREATE DATABASE %s; CREATE DATABASE %s;",
			name, err, p.ownedBy(p.executions), p.ownedBy(p.visibility))
	}
	return nil
}

func (p *postgres) ownedBy(d database) string {
	return pgx.Identifier{d.config.Database}.Sanitize() + " OWNER " + pgx.Identifier{d.config.User}.Sanitize()
}

// code is what PostgreSQL calls the error, "" if it has not answered.
func code(err error) string {
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return refusal.Code
	}
	return ""
}

// prepare looks at both databases before it changes one.
func (p *postgres) prepare(ctx context.Context) error {
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

// checkNoOtherServer looks for servers of Temporal's own images, which take no lock. They write that they live every 10 s, and count as
// gone after 20 s.
func checkNoOtherServer(ctx context.Context, conn *pgx.Conn) error {
	var address string
	err := conn.QueryRow(ctx, `SELECT rpc_address FROM cluster_membership
		WHERE last_heartbeat > now() AT TIME ZONE 'UTC' - interval '20 s' ORDER BY last_heartbeat DESC LIMIT 1`).Scan(&address)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || code(err) == "42P01": // a schema from before that table
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("another Temporal server, at %s, has used it within the last 20 s: stop that one", address)
}

// oneLine is an error in one line: that of a connection has one for each address that was tried.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e oneLine) Unwrap() error { return e.error }
