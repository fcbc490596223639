// Package manager is the role of the store manager: it opens the registry and the memory of webhooks, monitors the stores, and serves the API.
package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/go-chi/chi/v5"
	"go.uber.org/zap"

	"storekeeper/internal/backup"
	"storekeeper/internal/build"
	"storekeeper/internal/config"
	"storekeeper/internal/dbfile"
	"storekeeper/internal/deliveries"
	deliverysqlite "storekeeper/internal/deliveries/sqlite"
	"storekeeper/internal/figures"
	"storekeeper/internal/process"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/monitor"
	"storekeeper/internal/storemanager/nodeserver"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/registry"
	"storekeeper/internal/storemanager/registry/sqlite"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/telemetry"
)

// RegistryFile is the name of the registry's database within the data directory.
const RegistryFile = "stores.db"

// Manager is a store manager in this process, with the memory of webhooks beside it in the same database.
type Manager struct {
	storemanager.Manager
	deliveries.Memory
	monitored monitored
	watcher   storemanager.Watcher // nil when a Node server monitors
	sink      *processor.Sink      // nil without EVENT_SINK_URL
	registry  *registry.Registry
	database  *sqlite.Database
	backups   *backup.Maker // of the registry alone
	config    *config.Config
	path      string // of the registry; "" in memory
	log       *zap.Logger
	unwatch   func() // ends what watchLosses begins; nil before
}

// monitored is a registry whose stores are monitored: by a *monitor.Supervisor, or by a Node server that a *nodeserver.Node drives.
type monitored interface {
	storemanager.Manager
	// Ping returns nil if the registry can be read and keeps what is changed, and a Node server answers and takes the secret.
	Ping(ctx context.Context) error
	// SetPins makes ids the pinned stores, and no others.
	SetPins(ctx context.Context, ids []string) error
	// Close ends the monitoring.
	Close() error
}

// Run serves the store manager of STORE_DATA_PATH at STORE_MANAGER_LISTEN until ctx ends. Before that it restores the registry of a backup, if there is to be one.
func Run(ctx context.Context, p *process.Process, restore Restore) error {
	if err := restore.Apply(ctx, p, p.Config.StoreDataPath, backup.Registry); err != nil {
		return err
	}
	database := dbfile.Database{Name: "registry", Path: filepath.Join(p.Config.StoreDataPath, RegistryFile)}
	m, err := Open(ctx, p, database.Path)
	if err != nil {
		return err
	}
	defer m.Close()
	p.Metrics.RegisterDatabases(func() []dbfile.Usage { return p.Usage(database) })
	figures.Register(p.Metrics, m.Manager, nil)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(p.Config.StoreManagerListen))
	if err != nil {
		return fmt.Errorf("STORE_MANAGER_LISTEN: %w", err)
	}
	p.Log.Info("store manager listens", zap.Stringer("address", l.Addr()))
	return p.Serve(ctx, l, m.Handler(p, func() []storemanager.DatabaseSize { return sizes(p.Usage(database)) }))
}

// Open opens the registry at path, "" for one in memory, and monitors its stores as the settings say, until ctx ends or Close is called, which
// must be done. The pinned stores are those of STORE_IDS from then on. What its monitors did shows in the metrics.
func Open(ctx context.Context, p *process.Process, path string) (*Manager, error) {
	opened := time.Now()
	database, err := sqlite.Open(ctx, path, p.Log)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	named := func(err error) error { return fmt.Errorf("registry: %s: %w", cmp.Or(path, "in memory"), err) }
	known, err := registry.New(ctx, database, registry.Options{Path: database.Path(), Logger: p.Log, AuditRetention: p.Config.AuditRetention})
	if err != nil {
		return nil, named(err)
	}
	memory, err := deliverysqlite.New(ctx, database, deliverysqlite.Options{})
	if err != nil {
		return nil, errors.Join(named(err), known.Close())
	}
	m := &Manager{Memory: memory, registry: known, database: database, config: p.Config, path: path, log: p.Log}
	m.backups = &backup.Maker{
		Dir: filepath.Dir(database.Path()), Version: build.Version, Sources: m.BackupSources(),
		Without: []string{"Temporal's database: it is not the store manager's; back it up by its own means (pg_dump), before the registry"},
	}
	if err := m.monitor(ctx, p); err != nil {
		return nil, errors.Join(err, known.Close())
	}
	if err := m.SetPins(ctx, p.Config.StoreIDs); err != nil {
		return nil, errors.Join(fmt.Errorf("STORE_IDS: %w", err), m.close())
	}
	if err := known.NoteSettings(ctx, p.Settings()); err != nil {
		return nil, errors.Join(fmt.Errorf("note the settings: %w", err), m.close())
	}
	p.Metrics.RegisterMonitors(func(ctx context.Context) (telemetry.MonitorFigures, error) { return monitorFigures(ctx, m) })
	m.watchLosses(ctx, p.Sentry, opened)
	return m, nil
}

// Ping returns nil if the store manager can do its work.
func (m *Manager) Ping(ctx context.Context) error { return m.monitored.Ping(ctx) }

// SetPins makes ids the pinned stores, and no others.
func (m *Manager) SetPins(ctx context.Context, ids []string) error {
	return m.monitored.SetPins(ctx, ids)
}

// BackupSources are the registry's, as sources of a backup; nil if it is in memory.
func (m *Manager) BackupSources() []backup.Source {
	if m.database.Path() == "" {
		return nil
	}
	return []backup.Source{{Name: backup.Registry, Path: m.database.Path(), Copy: m.database.CopyTo}}
}

// Close ends the monitoring and closes the registry. What does not go well is logged: nobody can do anything about it any more.
func (m *Manager) Close() {
	if err := m.close(); err != nil {
		m.log.Error("store manager not closed cleanly", zap.Error(err))
	}
}

func (m *Manager) close() error {
	if m.unwatch != nil {
		m.unwatch()
	}
	err := m.monitored.Close()
	if m.sink != nil {
		m.sink.Close()
	}
	return errors.Join(err, m.registry.Close())
}

// sizes is what the API tells of databases.
func sizes(usage []dbfile.Usage) (all []storemanager.DatabaseSize) {
	for _, u := range usage {
		all = append(all, storemanager.DatabaseSize(u))
	}
	return all
}

// Handler serves the API and the metrics. databases says how large the databases are; nil tells nothing of that.
func (m *Manager) Handler(p *process.Process, databases func() []storemanager.DatabaseSize) http.Handler {
	r := chi.NewRouter()
	r.Handle("/metrics", p.Metrics.Handler())
	r.Mount("/", storehttp.Handler(storehttp.Options{
		Manager: m.Manager, Memory: m.Memory, Watcher: m.watcher, Ping: m.Ping, Examine: m.Examine, Databases: databases, Logger: telemetry.Sampled(p.Log),
		Tokens: p.BypassTokens,
		Backup: m.backups.Make,
	}))
	return r
}

// monitor makes the stores of the registry monitored, as the settings say.
func (m *Manager) monitor(ctx context.Context, p *process.Process) error {
	c := p.Config
	if c.StoreManagerKind == config.KindNode {
		node, err := nodeserver.Drive(ctx, m.registry, nodeserver.Options{
			URL: string(c.NodeServerURL), WebhookSecret: func() string { return string(c.Newest().NodeServerSecret) }, Logger: p.Log,
		})
		if err != nil {
			return err
		}
		m.Manager, m.monitored = actions{node, p.Log}, node
		return nil
	}
	var taker processor.Processor = processor.NewLog(p.Log)
	if c.EventSinkURL != "" {
		var err error
		m.sink, err = processor.NewSink(processor.SinkOptions{
			URL: string(c.EventSinkURL), Secret: func() string { return string(c.Newest().EventSinkSecret) },
			Refused: refused(p, telemetry.RefusedBySink),
		})
		if err != nil {
			return fmt.Errorf("EVENT_SINK_URL: %w", err)
		}
		taker = m.sink
	}
	supervisor, err := monitor.Supervise(ctx, m.registry, monitor.Options{
		SyncURL: c.StoreSyncURL, Token: c.BypassToken, Processor: taker, MaxDials: int(c.SyncMaxDials), Logger: p.Log,
		Refused: refused(p, telemetry.RefusedBySyncBackend),
		Outage:  func(o monitor.Outage) { tellOutage(ctx, p.Sentry, o) },
	})
	if err != nil {
		return err
	}
	m.Manager, m.monitored, m.watcher = actions{supervisor, p.Log}, supervisor, supervisor
	return nil
}

// refused counts that somebody refuses our token.
func refused(p *process.Process, by string) func() { return func() { p.Metrics.TokenRefused(by) } }
