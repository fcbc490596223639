// Package temporalserver runs Temporal's own server and Web UI inside this process, on SQLite or PostgreSQL.
//
// It is for one node: development, tests and small installations. It has no authentication and no TLS. Let it listen on loopback, or put
// something in front that has both.
package temporalserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/server/temporal"
	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
	"storekeeper/internal/temporalserver/postgres"
)

const (
	defaultNamespace = "default"
	// A failed event can still be inspected after a weekend, and the file stays small.
	defaultRetention = 72 * time.Hour
	// Temporal's API accepts no less than an hour; the server itself has no bound.
	minRetention = time.Minute

	// A start takes less than a second. One that takes this long is stuck.
	startTimeout = 30 * time.Second
	// A stop takes about a second. After this long the process may as well end.
	stopTimeout = 8 * time.Second
	// Moving a log of some MB into the file takes a fraction of this.
	logTimeout = 2 * time.Second
)

// Options say where a Server listens and what it keeps.
type Options struct {
	// Listen is the host:port of the gRPC frontend. Port 0 picks a free one.
	Listen string
	// UIListen is the host:port of the Web UI. Port 0 picks a free one; empty means no UI.
	UIListen string
	// UIHosts are further names that requests to the UI may use, beside localhost and the host of UIListen (see ownhost).
	UIHosts []string
	// DatabasePath is the SQLite file. It is created when missing; its directory must exist. Only one process may use it at a time: a lock
	// file stands beside it. Empty keeps everything in memory until the process ends. A file of a version of Temporal that this one can't
	// go on with is set aside (see Replacement).
	DatabasePath string
	// Schema is the schema that the files get; "" means SchemaLean. Files with the other schema are brought to it.
	Schema Schema
	// DatabaseURL is a PostgreSQL database (postgres://user:password@host/temporal) instead of a file. It and a second one, whose name ends
	// in _visibility, are created when missing, and their schemas are brought up to date. Only one process may use them at a time.
	DatabaseURL string
	// Namespace is created when missing. Empty means "default".
	Namespace string
	// Retention is how long a closed workflow is kept, at least a minute. Zero means 72 hours. A new value applies to workflows that close
	// from then on.
	Retention time.Duration
	// SearchAttributes are the namespace's custom search attributes. Existing ones that are not named here stay. The type of an attribute
	// can't be changed.
	SearchAttributes map[string]enums.IndexedValueType
	// HistoryLimit is after how many events of its history a workflow is asked to continue as new. Zero means Temporal's own limit. No product
	// sets it: golden histories of what continues as new are recorded with a low one, which the server writes into them.
	HistoryLimit int
	// Logger takes the server's warnings and errors; nil discards them.
	Logger *zap.Logger
}

// Server is a running Temporal server. The caller must call Stop.
type Server struct {
	addr       string
	temporal   temporal.Server
	ui         *ui                 // nil without UI
	lock       *os.File            // nil in memory and on PostgreSQL
	files      *files              // nil in memory and on PostgreSQL
	upkeep     *upkeep             // nil in memory and on PostgreSQL
	postgres   *postgres.Databases // nil on SQLite
	logControl *logControl
	log        *zap.Logger
	stopOnce   sync.Once
}

// Start starts a server and returns once a workflow can be started in the namespace, which takes well under a second. It fails when an
// address is taken, when the database is in use, damaged or another program's, when the search attributes don't fit, and when ctx ends. It
// waits up to a minute for a PostgreSQL that is not there yet, and as long as it takes to bring a database to the schema.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := nameUser(); err != nil {
		return nil, err
	}
	s := &Server{logControl: newLogControl(), log: o.Logger}
	defer func() {
		if err == nil {
			return
		}
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err) // Temporal's own errors do not wrap it
		}
		s.Stop()
	}()

	databases, err := s.open(ctx, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()
	addrs, err := reserveAddresses(ctx, o.Listen)
	if err != nil {
		return nil, err
	}
	s.addr = addrs.frontend.String()
	if err := setUpNamespace(ctx, databases.executions, o); err != nil {
		return nil, fmt.Errorf("set up namespace %q: %w", o.Namespace, err)
	}
	options := serverOptions(addrs, databases, o.HistoryLimit, s.logControl.wrap(o.Logger))
	if s.upkeep != nil && s.upkeep.durability != nil {
		options = append(options, temporal.WithChainedFrontendGrpcInterceptors(s.upkeep.durability.intercept))
	}
	if s.temporal, err = launch(options, s.logControl); err != nil {
		return nil, err
	}
	if err := waitUntilServing(ctx, s.addr, o.Namespace); err != nil {
		return nil, err
	}
	if o.UIListen != "" {
		if s.ui, err = startUI(ctx, o, s.addr); err != nil {
			return nil, err
		}
	}
	s.logControl.setServing()
	return s, nil
}

// open opens the databases that o names. It may take minutes to reach PostgreSQL, or to bring a large file to the schema.
func (s *Server) open(ctx context.Context, o Options) (databases dataStores, err error) {
	if o.DatabaseURL != "" {
		if s.postgres, err = postgres.Open(ctx, o.DatabaseURL, postgres.Patience, o.Logger); err != nil {
			return dataStores{}, err
		}
		return dataStores{executions: s.postgres.Executions(), visibility: s.postgres.Visibility(), shards: postgres.Shards}, nil
	}
	if o.DatabasePath == "" {
		databases = inMemory()
		return databases, trimMemory(databases)
	}
	path, err := realPath(o.DatabasePath)
	if err != nil {
		return dataStores{}, fmt.Errorf("database: %w", err)
	}
	if s.lock, err = lockDatabase(path); err != nil {
		return dataStores{}, err
	}
	if s.files, err = openFiles(ctx, path, o.Schema, o.Logger); err != nil {
		return dataStores{}, err
	}
	s.upkeep, err = beginUpkeep(ctx, s.files, o.Logger)
	return s.files.data, err
}

// complete fills in the defaults, and returns an error if the options contradict each other.
func (o *Options) complete() error {
	if o.DatabasePath != "" && o.DatabaseURL != "" {
		return errors.New("a database file and a PostgreSQL are given: there can be one of them")
	}
	if o.Namespace == "" {
		o.Namespace = defaultNamespace
	}
	if o.Retention == 0 {
		o.Retention = defaultRetention
	}
	if o.Retention < minRetention {
		return fmt.Errorf("retention %s: at least %s is needed", o.Retention, minRetention)
	}
	switch o.Schema {
	case "":
		o.Schema = SchemaLean
	case SchemaLean, SchemaFull:
	default:
		return fmt.Errorf("schema %q: want %s or %s", o.Schema, SchemaLean, SchemaFull)
	}
	if o.Schema == SchemaFull && o.DatabasePath == "" {
		return fmt.Errorf("schema %s is for a SQLite file, and there is none", SchemaFull)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// launch starts Temporal's services. Some errors, such as a port that was taken in the last moment, would end the process. Here they end
// only a goroutine, by a panic or not, and are returned.
func launch(options []temporal.ServerOption, logControl *logControl) (temporal.Server, error) {
	var (
		server temporal.Server
		err    = errors.New("cut short")
		done   = make(chan struct{})
	)
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		if server, err = temporal.NewServer(options...); err == nil {
			err = server.Start()
		}
	}()
	<-done
	if fatal := logControl.fatalError(); fatal != nil {
		err = fatal
	}
	if err != nil {
		return nil, fmt.Errorf("start temporal server: %w", err)
	}
	return server, nil
}

// Addr is the host:port of the gRPC frontend, with the real port.
func (s *Server) Addr() string { return s.addr }

// UIAddr is the host:port of the Web UI, with the real port; empty without UI.
func (s *Server) UIAddr() string {
	if s.ui == nil {
		return ""
	}
	return s.ui.addr
}

// Status is what operators want to know of a server's databases. It is zero for a server in memory or on PostgreSQL.
type Status struct {
	// Databases are the server's SQLite files.
	Databases []dbfile.Database
	// Replaced is the database that the one in use has replaced, at this start or an earlier one; nil if there was none.
	Replaced *Replacement
}

// Status returns the status at this moment.
func (s *Server) Status() Status {
	if s.files == nil {
		return Status{}
	}
	databases := []dbfile.Database{{Name: "temporal", Path: s.files.executions}}
	if s.files.split() {
		databases = append(databases, dbfile.Database{Name: "temporal_visibility", Path: s.files.visibility})
	}
	return Status{Databases: databases, Replaced: s.files.replaced}
}

// Trouble is why the server can do nothing at the moment, in a sentence of a fixed set. It is nil when nothing is known to be wrong.
func (s *Server) Trouble() error {
	if s.upkeep != nil && s.upkeep.durability != nil {
		return s.upkeep.durability.err()
	}
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Trouble()
}

// Failed receives why the server must be stopped: another process has its PostgreSQL, or that came back as another database. On SQLite it
// is nil and receives nothing.
func (s *Server) Failed() <-chan error {
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Failed()
}

// Stop ends the server in about a second, and stops waiting after eight. What was acknowledged is on the disk, so a server that is not
// stopped loses nothing either. Stop may be called more than once.
func (s *Server) Stop() { s.stopOnce.Do(s.stop) }

func (s *Server) stop() {
	s.logControl.setStopping()
	if s.ui != nil {
		s.ui.stop()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.temporal != nil {
			if err := s.temporal.Stop(); err != nil {
				s.log.Warn("temporal server stopped with an error", zap.Error(err))
			}
		}
		if s.upkeep != nil {
			s.upkeep.close()
		}
		// Only now may another process use the file.
		if s.lock != nil {
			_ = s.lock.Close()
		}
		if s.postgres != nil {
			s.postgres.Close(context.Background()) //nolint:forbidigo // Stop takes no context
		}
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		s.log.Warn("temporal server is still stopping", zap.Duration("waited", stopTimeout))
	}
}
