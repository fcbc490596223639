// Package temporalserver runs Temporal's own server and Web UI inside this process, on SQLite or PostgreSQL.
//
// It is for one node: development, tests and small installations. There is no authentication and no TLS, so listen on
// loopback, or put something in front that has both.
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
	// A failed event can still be looked into after a weekend, and the file stays small.
	defaultRetention = 72 * time.Hour
	// Temporal's API has an hour as its lower bound; the server itself has none.
	minRetention = time.Minute

	// A start takes less than a second; one that takes this long is stuck.
	startTimeout = 30 * time.Second
	// A stop takes about a second; after this long the process may as well end.
	stopTimeout = 8 * time.Second
	// A log of some MB is moved into the file in a fraction of that.
	logTimeout = 2 * time.Second
)

// Options say where a Server listens and what it keeps.
type Options struct {
	// Listen is the host:port of the gRPC frontend. Port 0 picks a free one.
	Listen string
	// UIListen is the host:port of the Web UI. Port 0 picks a free one; empty means no UI.
	UIListen string
	// UIHosts are names by which the UI may be asked, beside localhost and what UIListen says (see ownhost).
	UIHosts []string
	// DatabasePath is the SQLite file, created when missing; its directory must exist. Only one process may use it at a
	// time: a lock file stands beside it. Empty keeps everything in memory, until the process ends. One of a version of Temporal that this
	// one can't go on with is set aside (see Replacement).
	DatabasePath string
	// Schema is what the files have; "" means SchemaLean. Those of the other one are brought to it.
	Schema Schema
	// DatabaseURL is a PostgreSQL database (postgres://user:password@host/temporal) instead of a file. It and one with the same name and
	// _visibility are created when missing, and their schemas brought up to date. Only one process may use them at a time.
	DatabaseURL string
	// Namespace is created when missing. Empty means "default".
	Namespace string
	// Retention is how long a closed workflow is kept, at least a minute. Zero means 72 hours. A new value applies to
	// workflows that close from then on.
	Retention time.Duration
	// SearchAttributes are the namespace's custom search attributes. Those already there and not named here stay; the
	// type of one can't be changed.
	SearchAttributes map[string]enums.IndexedValueType
	// HistoryLimit is after how many events of its history a workflow is asked to continue as new. Zero means Temporal's own limit.
	HistoryLimit int
	// Logger takes the server's warnings and errors; nil discards them.
	Logger *zap.Logger
}

// Server is a running Temporal server. It must be stopped.
type Server struct {
	addr       string
	temporal   temporal.Server
	ui         *ui                 // nil without UI
	lock       *os.File            // nil in memory and on PostgreSQL
	files      *files              // likewise
	upkeep     *upkeep             // likewise
	postgres   *postgres.Databases // nil on SQLite
	logControl *logControl
	log        *zap.Logger
	stopOnce   sync.Once
}

// Start starts a server and returns once a workflow can be started in the namespace, in well under a second.
// It fails when an address is taken, when the database is in use, damaged or another program's, when the search
// attributes don't fit, and when ctx ends first. It waits a minute for a PostgreSQL that is not there yet, and as long as it takes to
// bring a database to the schema.
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
			err = fmt.Errorf("%w: %w", cause, err) // Temporal's own errors don't keep it
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

// open opens the databases that o names. To reach PostgreSQL, or to bring a large file to the schema, may take minutes.
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

// complete fills in the defaults.
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

// launch starts Temporal's services. What they would end the process for, a port taken in the last moment for example,
// ends only this goroutine, by way of a panic or not, and is returned.
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

// Status is what operators want to know of a server's databases; all zero but for one on disk.
type Status struct {
	// Databases are its SQLite files.
	Databases []dbfile.Database
	// Replaced is the database whose place the one in use has taken, at this start or an earlier one; nil if there was none.
	Replaced *Replacement
}

// Status is that of now.
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

// Trouble is why the server can do nothing at the moment, in a sentence of a fixed set; nil when that is not known.
func (s *Server) Trouble() error {
	if s.upkeep != nil && s.upkeep.durability != nil {
		return s.upkeep.durability.err()
	}
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Trouble()
}

// Failed tells why the server must be stopped: another one has its PostgreSQL, or that came back as another database. Nil, which never
// tells, on SQLite.
func (s *Server) Failed() <-chan error {
	if s.postgres == nil {
		return nil
	}
	return s.postgres.Failed()
}

// Stop ends the server in about a second, and gives up waiting after eight. What was acknowledged is on disk, so a
// server that isn't stopped loses nothing either. Stop may be called more than once.
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
		// Only now may another process have the file.
		if s.lock != nil {
			_ = s.lock.Close()
		}
		if s.postgres != nil {
			s.postgres.Close(context.Background()) //nolint:forbidigo // likewise
		}
	}()
	select {
	case <-done:
	case <-time.After(stopTimeout):
		s.log.Warn("temporal server is still stopping", zap.Duration("waited", stopTimeout))
	}
}
