package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

const (
	// upkeepInterval bounds what a power loss can take off the mark, and how long writes go to a file that is no longer there.
	upkeepInterval = time.Second
	// logSize is what the log is cut down to, in bytes. SQLite lets it grow to that (1000 pages) when nobody reads.
	logSize = 4 << 20
	// maxLog is when the log is too large, in bytes. It grows to that only while readers that overlap keep SQLite from beginning it anew.
	maxLog = 4 * logSize
	// checkpointWait is how long writers may have to wait for the readers of a log that is too large. If some readers take longer, as a backup does, the
	// log is tried again after checkpointRetry.
	checkpointWait  = time.Second
	checkpointRetry = 10 * time.Second
	// closeWait is how long Close may wait for readers. It leaves a process that must end within 10 s time for the rest.
	closeWait = 3 * time.Second
)

// beginUpkeep looks after the files until endUpkeep is called. A database in memory has none.
func (db *Database) beginUpkeep(ctx context.Context) {
	if db.path == "" {
		db.endUpkeep = func() {}
		return
	}
	db.endUpkeep = dbfile.Upkeep(ctx, upkeepInterval, db.lookAfterFiles)
}

// lookAfterFiles does what is due: it brings the mark to the disk, checks the file, and empties a log that is too large.
func (db *Database) lookAfterFiles(ctx context.Context) {
	if err := db.mark.sync(); err != nil {
		db.log.Error("the mark of the registry is not on the disk", zap.Error(err))
	}
	db.checkFile()
	if time.Now().Before(db.nextCheckpoint) || db.copying.Load() > 0 { // changes would wait for a copy in vain
		return
	}
	if err := db.shrinkLog(ctx); err != nil && ctx.Err() == nil {
		db.nextCheckpoint = time.Now().Add(checkpointRetry)
		db.log.Warn("the log of the registry can't be emptied, and grows: something may read it all the time", zap.Error(err))
	}
}

// checkFile looks whether the open file is still the one at its path. Nobody would find what is written to another one.
func (db *Database) checkFile() {
	there, err := os.Stat(db.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_ = db.breakOff(errors.New("its file was deleted")) // it is logged
	case err == nil && !os.SameFile(there, db.file):
		_ = db.breakOff(errors.New("its file was replaced by another")) // it is logged
	}
}

// breakOff makes the registry refuse all changes, and returns why. Callers try again, so nothing is lost, and a restart finds out what was lost before.
func (db *Database) breakOff(why error) error {
	err := fmt.Errorf("the registry can keep nothing until the process is restarted: %w", why)
	if db.broken.CompareAndSwap(nil, &err) {
		db.log.Error("the registry was changed behind our back, restart the process", zap.String("path", db.path), zap.Error(why))
	}
	return err
}

// usable returns why the registry can keep nothing any more; nil if it can.
func (db *Database) usable() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// shrinkLog moves a log that is too large into the file, and empties it.
func (db *Database) shrinkLog(ctx context.Context) error {
	if size, err := dbfile.LogSize(db.path); err != nil || size <= maxLog {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointWait)
	defer cancel()
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool
	return dbfile.EmptyLog(ctx, conn)
}
