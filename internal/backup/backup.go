// Package backup makes a backup of the databases of a running process, takes one in from another process, and puts one back. A backup is a folder with
// copies of databases and a manifest that says what they are; on its way it is a tar of the same files, the manifest first. How a database is copied, its
// owner says (Source): this package links no SQL driver.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"storekeeper/internal/dbfile"
)

// ManifestFile is the name of the manifest in a backup.
const ManifestFile = "manifest.json"

// MediaType is that of a backup on its way.
const MediaType = "application/x-tar"

// format is the version of the manifest. One that is higher is refused.
const format = 1

// The names of files in a backup, which are those in the data directory as well. There are no others.
const (
	Registry           = "stores.db"
	Temporal           = "temporal.db"
	TemporalVisibility = "temporal-visibility.db"
)

var names = []string{TemporalVisibility, Temporal, Registry}

var (
	// ErrUnderWay: this process makes another backup.
	ErrUnderWay = errors.New("another backup is under way: wait for its end")
	// ErrNoRoom: the disk of the server has no room for the copies.
	ErrNoRoom = errors.New("the server's disk has no room for the copies of its databases")
	// ErrNothingOnDisk: all is kept in memory.
	ErrNothingOnDisk = errors.New("the server keeps everything in memory, so there is nothing to back up")
)

// Manifest says what a backup holds.
type Manifest struct {
	Format int `json:"format"`
	// CreatedAt is when the first copy began. The copies are of this moment or of one shortly after it.
	CreatedAt time.Time `json:"createdAt"`
	// Version is that of the Storekeeper that made it.
	Version string `json:"version"`
	// Files are in the order in which they were copied: the registry, which has the last word, comes last.
	Files []File `json:"files"`
	// Without says, a sentence each, what belongs to the installation and must be backed up by other means.
	Without []string `json:"without,omitempty"`
}

// File is the copy of one database.
type File struct {
	Name     string    `json:"name"`
	Bytes    int64     `json:"bytes"`
	SHA256   string    `json:"sha256"` // in hex
	CopiedAt time.Time `json:"copiedAt"`
	Contents
}

// Contents are what the owner of a database says of a copy that was read back.
type Contents struct {
	// Identity names the database among others of its kind.
	Identity string `json:"identity"`
	// Schema is the version of its schema; 0 if it has none. Server is the version of the server whose database it is; "" for the registry.
	Schema int    `json:"schema,omitempty"`
	Server string `json:"server,omitempty"`
	// Rows counts what is in it.
	Rows map[string]int64 `json:"rows"`
}

// Bytes is how large all files are.
func (m Manifest) Bytes() (sum int64) {
	for _, f := range m.Files {
		sum += f.Bytes
	}
	return sum
}

// Has says whether the backup has the file.
func (m Manifest) Has(name string) bool {
	return slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name })
}

// ErrNoBackup: the folder is no backup, or one that was not finished.
var ErrNoBackup = errors.New("it is no backup, or one that was not finished: it has no " + ManifestFile)

// Read reads the manifest of the backup in dir. It fails with ErrNoBackup if there is none.
func Read(dir string) (Manifest, error) {
	content, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, ErrNoBackup
	}
	if err != nil {
		return Manifest{}, err
	}
	return parse(content)
}

func parse(content []byte) (m Manifest, err error) {
	if err := json.Unmarshal(content, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s can't be read: %w", ManifestFile, err)
	}
	if m.Format > format {
		return Manifest{}, fmt.Errorf("a newer version of Storekeeper (%s) made the backup: use that one", m.Version)
	}
	var seen []string
	for _, f := range m.Files {
		if !slices.Contains(names, f.Name) || slices.Contains(seen, f.Name) {
			return Manifest{}, fmt.Errorf("%s names the file %.40q, which is not expected there", ManifestFile, f.Name)
		}
		seen = append(seen, f.Name)
	}
	if len(seen) == 0 || m.Format < 1 {
		return Manifest{}, fmt.Errorf("%s says nothing of a backup", ManifestFile)
	}
	return m, nil
}

// Verify reads the file from the disk and says whether it is the one that the manifest describes.
func (f File) Verify(ctx context.Context, dir string) error {
	sum, n, err := digest(ctx, filepath.Join(dir, f.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing: use another backup", f.Name)
	case err != nil:
		return err
	case n != f.Bytes || sum != f.SHA256:
		return fmt.Errorf("%s is not as it was written: it has %d bytes and the SHA-256 %.12s…, and should have %d and %.12s…: use another backup",
			f.Name, n, sum, f.Bytes, f.SHA256)
	}
	return nil
}

// digest reads the file at path.
func digest(ctx context.Context, path string) (sum string, n int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	hash := sha256.New()
	if n, err = io.Copy(hash, untilDone{ctx, file}); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), n, nil
}

// untilDone is a reader whose reads fail once ctx has ended.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// write makes a new file with the content, for its owner alone, and returns once it is on the disk. Nothing is left of it after an error.
func write(path string, content io.Reader) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, dbfile.Mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if _, err = io.Copy(file, content); err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncDir brings the names in dir to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
