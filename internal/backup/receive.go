package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"storekeeper/internal/dbfile"
)

// maxManifest is how many bytes a manifest may have.
const maxManifest = 1 << 20

// ErrNotEmpty: something is in the folder already.
var ErrNotEmpty = errors.New("it is not empty: name a folder that is empty, or that is not there yet")

// CheckEmpty says whether a backup can be kept in dir: it must be empty, or not there yet in a folder that is. ErrNotEmpty if something is in it.
func CheckEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = os.Stat(filepath.Dir(filepath.Clean(dir)))
		return err
	case err == nil && len(entries) > 0:
		return ErrNotEmpty
	}
	return err
}

// Receive keeps the backup that it reads from archive in dir, which must be empty or not there, and reads back what it wrote. Its manifest comes last, so a
// folder without one is no backup. After an error, the end of ctx too, nothing is left of it. progress is called with how many bytes of the files have come, of how
// many, whenever some more have.
func Receive(ctx context.Context, archive io.Reader, dir string, progress func(done, total int64)) (_ Manifest, err error) {
	if err := CheckEmpty(dir); err != nil {
		return Manifest{}, err
	}
	made := false
	if err := os.Mkdir(dir, dbfile.DirMode); err == nil {
		made = true
	} else if !errors.Is(err, fs.ErrExist) {
		return Manifest{}, err
	}
	var written []string
	defer func() {
		if err == nil {
			return
		}
		for _, name := range written {
			_ = os.Remove(filepath.Join(dir, name)) // the error that is returned says enough
		}
		if made {
			_ = os.Remove(dir)
		}
	}()
	in := tar.NewReader(untilDone{ctx, archive})
	content, manifest, err := receiveManifest(in)
	if err != nil {
		return Manifest{}, err
	}
	done, total := int64(0), manifest.Bytes()
	for _, f := range manifest.Files {
		header, err := in.Next()
		if err != nil {
			return Manifest{}, cutOff(err)
		}
		if header.Name != f.Name || header.Size != f.Bytes {
			return Manifest{}, fmt.Errorf("%.40q comes where %s was expected", header.Name, f.Name)
		}
		counted := &counter{in, func(n int64) { done += n; progress(done, total) }}
		if err := write(filepath.Join(dir, f.Name), counted); err != nil {
			return Manifest{}, cutOff(err)
		}
		written = append(written, f.Name)
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return Manifest{}, cutOff(err)
	}
	for _, f := range manifest.Files {
		if err := f.Verify(ctx, dir); err != nil {
			return Manifest{}, fmt.Errorf("read back: %w", err)
		}
	}
	if err := write(filepath.Join(dir, ManifestFile), bytes.NewReader(content)); err != nil {
		return Manifest{}, err
	}
	written = append(written, ManifestFile)
	return manifest, errors.Join(syncDir(dir), syncDir(filepath.Dir(filepath.Clean(dir))))
}

func receiveManifest(in *tar.Reader) ([]byte, Manifest, error) {
	header, err := in.Next()
	if err != nil {
		return nil, Manifest{}, cutOff(err)
	}
	if header.Name != ManifestFile || header.Size > maxManifest {
		return nil, Manifest{}, errors.New("what comes is no backup: it does not begin with a " + ManifestFile)
	}
	content, err := io.ReadAll(in)
	if err != nil {
		return nil, Manifest{}, cutOff(err)
	}
	m, err := parse(content)
	return content, m, err
}

// cutOff names an end that comes too early, and returns other errors as they are.
func cutOff(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the backup was cut off on its way: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// counter tells how many bytes each read has brought.
type counter struct {
	io.Reader
	count func(n int64)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.count(int64(n))
	return n, err
}
