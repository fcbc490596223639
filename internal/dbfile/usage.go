package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Database is one by the name that metrics and health call it.
type Database struct{ Name, Path string }

// Usage is the room that a database takes.
type Usage struct {
	Name string
	// Bytes are those of its file and of its log.
	Bytes int64
	// DiskFree and DiskSize are those of the file system that it lies on, in bytes; what only root could use is not free.
	DiskFree, DiskSize uint64
}

// Usage looks at the files.
func (d Database) Usage() (Usage, error) {
	u := Usage{Name: d.Name}
	for _, suffix := range []string{"", "-wal"} {
		switch info, err := os.Stat(d.Path + suffix); {
		case err == nil:
			u.Bytes += info.Size()
		case suffix == "" || !errors.Is(err, fs.ErrNotExist):
			return Usage{}, err
		}
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(d.Path), &disk); err != nil {
		return Usage{}, err
	}
	block := uint64(disk.Bsize) //nolint:gosec // of another type on each system, and never negative
	u.DiskFree, u.DiskSize = disk.Bavail*block, disk.Blocks*block
	return u, nil
}
