package dbfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Database is a database file, with the name that metrics and health give it.
type Database struct{ Name, Path string }

// Usage is the disk space that a database takes.
type Usage struct {
	Name string
	// Bytes is the size of the file and its log.
	Bytes int64
	// DiskFree and DiskSize are those of its file system, in bytes. Space that only root can use does not count as free.
	DiskFree, DiskSize uint64
}

// Usage measures the files now. A missing log is fine, a missing file is an error.
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
	block := uint64(disk.Bsize) //nolint:gosec // its type differs between systems, and it is never negative
	u.DiskFree, u.DiskSize = disk.Bavail*block, disk.Blocks*block
	return u, nil
}
