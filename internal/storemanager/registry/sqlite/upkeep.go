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
	// upkeepInterval bounds what a power loss can take of the mark, and how long writes go to a file that is no longer there.
	upkeepInterval = time.Second
	// logSize is what the log is cut down to, in bytes: as much as SQLite lets it grow to (1000 pages) when nobody reads.
	logSize = 4 << 20
	// maxLog is more, and reached only while readers that overlap keep SQLite from beginning the log anew.
	maxLog = 4 * logSize
	// checkpointWait is how long writers may have to wait for the readers of a log that is too large; should some of them take longer (a
	// backup), it is tried again after checkpointRetry.
	checkpointWait  = time.Second
	checkpointRetry = 10 * time.Second
	// closeWait leaves a process that must end within 10 s some time for the rest.
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
	if time.Now().Before(db.nextCheckpoint) {
		return
	}
	if err := db.shrinkLog(ctx); err != nil && ctx.Err() == nil {
		db.nextCheckpoint = time.Now().Add(checkpointRetry)
		db.log.Warn("the log of the registry can't be emptied, and grows: something may read it all the time", zap.Error(err))
	}
}

// checkFile looks whether the file that is open is still the one at its path: what is written to another will be found by nobody.
func (db *Database) checkFile() {
	there, err := os.Stat(db.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_ = db.breakOff(errors.New("its file was deleted")) // it is logged
	case err == nil && !os.SameFile(there, db.file):
		_ = db.breakOff(errors.New("its file was replaced by another")) // it is logged
	}
}

// breakOff makes the registry refuse all changes: callers try again, so nothing is lost, and a restart finds out what is.
func (db *Database) breakOff(why error) error {
	err := fmt.Errorf("the registry can keep nothing until the process is restarted: %w", why)
	if db.broken.CompareAndSwap(nil, &err) {
		db.log.Error("the registry was changed behind our back, restart the process", zap.String("path", db.path), zap.Error(why))
	}
	return err
}

// usable is why the registry can keep nothing any more; nil if it can.
func (db *Database) usable() error {
	if err := db.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// shrinkLog moves the log into the file if it is too large, and empties it.
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
