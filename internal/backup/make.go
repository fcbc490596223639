package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"storekeeper/internal/dbfile"
)

// Source is a database that can be copied while it is used.
type Source struct {
	// Name is that of the file in the backup.
	Name string
	// Path is where the database is.
	Path string
	// Copy makes a copy of the database at the path to, reads it back, and says what is in it.
	Copy func(ctx context.Context, to string) (Contents, error)
}

// Maker makes the backups of a process, one at a time. The zero Maker, but for its fields, is ready.
type Maker struct {
	// Dir is where the copies are until they are sent: a folder on a disk that has room for them.
	Dir string
	// Version is Manifest.Version.
	Version string
	// Sources are copied in this order. What is copied later knows more. The registry has to be the last: it has the last word on every store, and
	// whatever Temporal's copy does not know yet, the registry's does.
	Sources []Source
	// Without is Manifest.Without.
	Without []string

	busy sync.Mutex
}

const (
	// workDir begins the name of the folder of a backup that is being made.
	workDir = ".backup-"
	// leastFree is how much room is left for the databases themselves when all copies are made, in bytes.
	leastFree = 64 << 20
)

// Make makes and verifies the copies, and returns them as a tar. The copies are there until the reader is closed, which must be done. When the reader has
// ended with io.EOF, all was read. It fails with ErrUnderWay, ErrNoRoom or ErrNothingOnDisk, and when ctx ends; nothing is left behind then.
func (m *Maker) Make(ctx context.Context) (io.ReadCloser, error) {
	if len(m.Sources) == 0 {
		return nil, ErrNothingOnDisk
	}
	if !m.busy.TryLock() {
		return nil, ErrUnderWay
	}
	a, err := m.make(ctx)
	if err != nil {
		m.busy.Unlock()
		return nil, err
	}
	return a, nil
}

func (m *Maker) make(ctx context.Context) (_ *archive, err error) {
	left, err := foldersOf(m.Dir, workDir) // of a process that was killed
	for _, old := range left {
		err = errors.Join(err, os.RemoveAll(old))
	}
	if err != nil {
		return nil, err
	}
	if err := m.checkRoom(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(m.Dir, workDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	manifest := Manifest{Format: format, CreatedAt: time.Now().UTC(), Version: m.Version, Without: m.Without}
	for _, source := range m.Sources {
		file := File{Name: source.Name, CopiedAt: time.Now().UTC()}
		if file.Contents, err = source.Copy(ctx, filepath.Join(dir, source.Name)); err != nil {
			if dbfile.FaultOf(err) == dbfile.DiskFull || errors.Is(err, syscall.ENOSPC) {
				err = errors.Join(ErrNoRoom, err)
			}
			return nil, fmt.Errorf("copy %s: %w", source.Name, err)
		}
		if file.SHA256, file.Bytes, err = digest(ctx, filepath.Join(dir, source.Name)); err != nil {
			return nil, fmt.Errorf("copy %s: %w", source.Name, err)
		}
		manifest.Files = append(manifest.Files, file)
	}
	return m.send(dir, manifest), nil
}

// checkRoom fails if the copies would take the room that the databases need themselves: events would be refused then.
func (m *Maker) checkRoom() error {
	need := uint64(leastFree)
	for _, source := range m.Sources {
		u, err := dbfile.Database{Path: source.Path}.Usage()
		if err != nil {
			return err
		}
		need += uint64(u.Bytes) //nolint:gosec // it is never negative
	}
	u, err := dbfile.Database{Path: m.Sources[0].Path}.Usage()
	if err == nil && u.DiskFree < need {
		err = fmt.Errorf("%w: they and what it needs itself take %d MiB, %d are free", ErrNoRoom, need>>20, u.DiskFree>>20)
	}
	return err
}

// archive is a backup that is being read.
type archive struct {
	*io.PipeReader
	close func()
}

// Close ends the reading, and deletes the copies.
func (a *archive) Close() error {
	a.close()
	return nil
}

// send writes the backup to whoever reads the archive.
func (m *Maker) send(dir string, manifest Manifest) *archive {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(writeTar(w, dir, manifest)) // it returns nil
	}()
	return &archive{r, sync.OnceFunc(func() {
		_ = r.Close() // it returns nil; the writer fails from now on
		<-done
		_ = os.RemoveAll(dir) // the next backup tries again
		m.busy.Unlock()
	})}
}

func writeTar(w io.Writer, dir string, manifest Manifest) error {
	out := tar.NewWriter(w)
	content, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	if err := writeEntry(out, ManifestFile, int64(len(content)), bytes.NewReader(content)); err != nil {
		return err
	}
	for _, f := range manifest.Files {
		file, err := os.Open(filepath.Join(dir, f.Name))
		if err != nil {
			return err
		}
		if err := errors.Join(writeEntry(out, f.Name, f.Bytes, file), file.Close()); err != nil {
			return err
		}
	}
	return out.Close()
}

func writeEntry(out *tar.Writer, name string, size int64, content io.Reader) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: dbfile.Mode}); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}
