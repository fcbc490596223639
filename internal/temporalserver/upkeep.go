package temporalserver

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/config"
	temporallog "go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	temporalsql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"
	"go.uber.org/zap"

	"storekeeper/internal/backup"
	"storekeeper/internal/backup/sqlitecopy"
	"storekeeper/internal/dbfile"
)

const (
	// upkeepInterval bounds what a power loss can take of what nobody was told yet. It is also how long a database must have been left
	// alone to count as idle.
	upkeepInterval = 2 * time.Second
	// vacuumStep is how many pages are given back at a time, which takes some milliseconds. leastFree is how many free pages are kept for
	// new data.
	vacuumStep = "200"
	leastFree  = 1000
	// checkpointWait is how long writers may have to wait, in milliseconds, while somebody else (a backup) reads the log that is to be
	// emptied. After that the log is left alone for checkpointRetry.
	checkpointWait  = "100"
	checkpointRetry = 30 * time.Second
)

// upkeep looks after the files of a running server.
type upkeep struct {
	log        *zap.Logger
	files      []*upkeptFile // the executions come first
	durability *durability   // nil with SchemaFull, which syncs each commit
	copying    atomic.Int32  // copies for a backup that are under way
	end        func()
}

// upkeptFile is a file that upkeep looks after.
type upkeptFile struct {
	path string
	// own is our own connection. It keeps the file open, so that SQLite keeps the log when Temporal renews its connection. It only reads,
	// and moves the log into the file.
	own *sql.DB
	// temporals is Temporal's own connection. Nothing that we do on it can come between the reading and the writing of a transaction of
	// Temporal's.
	temporals sqlplugin.AdminDB
	log       *os.File
	changed   time.Time // the log's time of change at the last look
	// nextEmpty is the earliest moment to try again to empty the log.
	nextEmpty time.Time
}

// admin returns Temporal's own connection to a file, or to a database in memory.
func admin(cfg *config.SQL) (sqlplugin.AdminDB, error) {
	return temporalsql.NewSQLAdminDB(sqlplugin.DbKindUnknown, cfg, resolver.NewNoopResolver(), temporallog.NewNoopLogger(), metrics.NoopMetricsHandler)
}

// beginUpkeep opens the files, before Temporal does, and looks after them until close.
func beginUpkeep(ctx context.Context, f *files, log *zap.Logger) (_ *upkeep, err error) {
	u := &upkeep{log: log, end: func() {}}
	defer func() {
		if err != nil {
			u.close()
		}
	}()
	for i, path := range f.all() {
		file := &upkeptFile{path: path}
		u.files = append(u.files, file)
		if file.own, err = openFile(path); err != nil {
			return nil, err
		}
		if _, err = columns(ctx, file.own); err != nil { // the first read creates the log
			return nil, err
		}
		cfg := f.data.executions
		if i > 0 {
			cfg = f.data.visibility
		}
		if _, err = file.own.ExecContext(ctx, "PRAGMA busy_timeout = "+checkpointWait); err != nil {
			return nil, err
		}
		if file.temporals, err = admin(cfg); err != nil {
			return nil, err
		}
		if file.log, err = os.Open(path + "-wal"); err != nil {
			return nil, err
		}
	}
	if f.split() {
		database, err := os.Stat(f.executions)
		if err != nil {
			return nil, err
		}
		u.durability = newDurability(database, u.files[0].log, log)
	}
	u.end = dbfile.Upkeep(ctx, upkeepInterval, u.look)
	return u, nil
}

// look looks after all files once.
func (u *upkeep) look(ctx context.Context) {
	// The executions come before visibility: lists may lack for a while what there is, but must never show what there never was.
	if u.durability != nil && u.durability.sync() != nil {
		return // it is logged
	}
	for i, file := range u.files {
		if err := file.look(ctx, i > 0, u.copying.Load() > 0); err != nil && ctx.Err() == nil {
			u.log.Warn("upkeep of temporal's database", zap.String("file", file.path), zap.Error(explain(err)))
		}
	}
}

// look syncs the log if it is told to, and uses an idle moment to empty the log and to give free pages back, unless the file is being copied: the log of such a
// file can't be emptied.
func (f *upkeptFile) look(ctx context.Context, sync, copying bool) error {
	if sync {
		if err := f.log.Sync(); err != nil {
			return err
		}
	}
	idle, err := f.idle()
	if err != nil || !idle || copying {
		return err
	}
	for ctx.Err() == nil {
		var free int
		if err := f.own.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free); err != nil {
			return err
		}
		if free <= leastFree {
			break
		}
		if err := f.temporals.Exec("PRAGMA incremental_vacuum(" + vacuumStep + ")"); err != nil {
			return err
		}
		if info, err := f.log.Stat(); err != nil || info.Size() > 4<<20 {
			break // the next look continues
		}
	}
	info, err := f.log.Stat()
	if err != nil || info.Size() == 0 || time.Now().Before(f.nextEmpty) {
		return err
	}
	if err = dbfile.EmptyLog(ctx, f.own); err != nil {
		f.nextEmpty = time.Now().Add(checkpointRetry)
	}
	if info, statErr := f.log.Stat(); statErr == nil {
		f.changed = info.ModTime() // we changed it
	}
	return err
}

// idle says whether nobody has written since the last look.
func (f *upkeptFile) idle() (bool, error) {
	info, err := f.log.Stat()
	if err != nil {
		return false, err
	}
	idle := info.ModTime().Equal(f.changed)
	f.changed = info.ModTime()
	return idle, nil
}

// close ends the upkeep. Temporal must have stopped. It moves all of the logs into the files, so that a copy of the files is complete.
func (u *upkeep) close() {
	u.end()
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout) //nolint:forbidigo // Stop takes none
	defer cancel()
	for _, f := range u.files {
		var err error
		if f.own != nil {
			err = errors.Join(dbfile.EmptyLog(ctx, f.own), f.own.Close())
		}
		if f.temporals != nil {
			err = errors.Join(err, f.temporals.Close())
		}
		if f.log != nil {
			_ = f.log.Close()
		}
		if err != nil {
			u.log.Warn("the log of temporal's database is not in its file yet; the next start reads it", zap.String("file", f.path), zap.Error(err))
		}
	}
}

// makeVacuumable lets SQLite give free pages back in small steps. A file that was made without this must be rewritten once.
func makeVacuumable(ctx context.Context, db *sql.DB, log *zap.Logger) error {
	const incremental = 2
	var mode int
	if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil || mode == incremental {
		return err
	}
	began := time.Now()
	_, err := db.ExecContext(ctx, "PRAGMA auto_vacuum = incremental; VACUUM")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // a full disk, for instance: everything works as before, and the next start tries again
		log.Warn("temporal's database could not be rewritten, it will not give its space back", zap.Error(explain(err)))
	default:
		log.Info("temporal's database was rewritten, from now on it gives its space back", zap.Duration("took", time.Since(began)))
	}
	return nil
}

// Backup returns the server's files as sources of a backup, in the order in which they must be copied: lists may lack for a while what there is, but must
// never show what there never was. It is nil for a server in memory or on PostgreSQL.
func (s *Server) Backup() []backup.Source {
	if s.files == nil {
		return nil
	}
	executions := backup.Source{Name: backup.Temporal, Path: s.files.executions, Copy: s.copier(s.files.executions, "executions", "current_executions")}
	if !s.files.split() {
		return []backup.Source{executions}
	}
	return []backup.Source{
		{Name: backup.TemporalVisibility, Path: s.files.visibility, Copy: s.copier(s.files.visibility, visibilityTable)},
		executions,
	}
}

// copier copies the file at path and counts the rows of the tables in the copy. The server goes on meanwhile.
func (s *Server) copier(path string, tables ...string) func(context.Context, string) (backup.Contents, error) {
	return func(ctx context.Context, to string) (backup.Contents, error) {
		s.upkeep.copying.Add(1)
		defer s.upkeep.copying.Add(-1)
		c := backup.Contents{Rows: map[string]int64{}}
		err := sqlitecopy.Copy(ctx, path, to, func(ctx context.Context, copied *sql.DB) (err error) {
			if c.Identity, c.Server, err = engineOf(ctx, copied); err != nil {
				return err
			}
			for _, table := range tables {
				var n int64
				if err := copied.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil { // the names are ours
					return err
				}
				c.Rows[table] = n
			}
			return nil
		})
		return c, explain(err)
	}
}
