package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"storekeeper/internal/dbfile"
)

const (
	// journalFile says, in the data directory, that a restore is decided and not yet done. Whoever starts next finishes it.
	journalFile = "restore-under-way.json"
	// stagingDir begins the name of the folder of the files that are to be put in place.
	stagingDir = ".restore-"
	// asideDir begins the name of the folder of what was there before.
	asideDir = "set-aside-"
)

// groups are the files that belong together, by the file of a backup that takes their place. Each may have those that SQLite keeps beside it.
var groups = map[string][]string{
	Registry:           {Registry, "registry-mark-of-" + Registry},
	Temporal:           {Temporal, TemporalVisibility}, // lists without their executions would show what is not there
	TemporalVisibility: {TemporalVisibility},
}

// putOrder is the order in which files are put in place: whoever takes the place of others' files too, comes before them.
var putOrder = []string{Temporal, TemporalVisibility, Registry}

// RestoreOptions say what is restored.
type RestoreOptions struct {
	// From is the folder of the backup, To the data directory.
	From, To string
	// Files are those of the backup that are wanted. What the backup lacks of them stays as it is.
	Files []string
	// SetAside moves what is in the data directory into a folder within it. Without it a data directory that has one of the databases is refused.
	SetAside bool
	// MaxSchema is the newest schema of a registry that can be opened.
	MaxSchema int
}

// Restored is what was put in place.
type Restored struct {
	Manifest Manifest
	// Files were put in place.
	Files []string
	// SetAside is the folder of what was there before; "" if nothing was.
	SetAside string
}

// journal is what journalFile holds.
type journal struct {
	Staging  string   `json:"staging"`
	SetAside string   `json:"setAside"`
	Files    []string `json:"files"`
}

// Restore checks a backup and puts its files in place. The registry among them counts as lost from its first start on. Until all is checked, and copied to the
// disk of the data directory, nothing is changed there. From then on the restore is decided: after a kill, Finish does the rest. It fails if the backup is not
// whole, if another process has the databases open, and if there are some and SetAside is not set.
func Restore(ctx context.Context, o RestoreOptions) (Restored, error) {
	manifest, err := Read(o.From)
	if err != nil {
		return Restored{}, fmt.Errorf("backup %s: %w", o.From, err)
	}
	r := Restored{Manifest: manifest}
	for _, f := range manifest.Files {
		if !slices.Contains(o.Files, f.Name) {
			continue
		}
		r.Files = append(r.Files, f.Name)
		if err := f.Verify(ctx, o.From); err != nil {
			return Restored{}, fmt.Errorf("backup %s: %w", o.From, err)
		}
		if f.Name == Registry && f.Schema > o.MaxSchema {
			return Restored{}, fmt.Errorf("backup %s: a newer version of Storekeeper (%s) made it, whose registry has schema %d, and this one knows %d: start that version",
				o.From, manifest.Version, f.Schema, o.MaxSchema)
		}
	}
	if len(r.Files) == 0 {
		return Restored{}, fmt.Errorf("backup %s: it has none of the files that are wanted here: %v", o.From, o.Files)
	}
	if err := os.MkdirAll(o.To, dbfile.DirMode); err != nil {
		return Restored{}, fmt.Errorf("data directory: %w", err)
	}
	err = locked(o.To, func() error { return r.restore(ctx, o) })
	return r, err
}

func (r *Restored) restore(ctx context.Context, o RestoreOptions) (err error) {
	if _, err := finish(o.To); err != nil { // of an earlier one, which was decided first
		return err
	}
	there, err := present(o.To, r.Files)
	if err != nil {
		return err
	}
	if len(there) > 0 && !o.SetAside {
		return fmt.Errorf("the data directory %s has databases already (%s): leave --restore out to start with them, or add --set-aside, which moves them into a folder "+
			"of their own", o.To, strings.Join(there, ", "))
	}
	staging, err := os.MkdirTemp(o.To, stagingDir)
	if err != nil {
		return err
	}
	decided := false
	defer func() {
		if !decided {
			_ = os.RemoveAll(staging) // the error that is returned says enough
		}
	}()
	for _, f := range r.Manifest.Files {
		if !slices.Contains(r.Files, f.Name) {
			continue
		}
		if err := stage(ctx, f, o.From, staging); err != nil {
			return fmt.Errorf("restore %s: %w", f.Name, err)
		}
	}
	if err := syncDir(staging); err != nil {
		return err
	}
	j := journal{Staging: filepath.Base(staging), SetAside: asideDir + time.Now().UTC().Format("20060102T150405.000Z"), Files: r.Files}
	content, err := json.Marshal(j)
	if err != nil {
		return err
	}
	step("staged")
	next := filepath.Join(staging, journalFile)
	if err := write(next, bytes.NewReader(content)); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(o.To, journalFile)); err != nil {
		return err
	}
	decided = true
	if err := syncDir(o.To); err != nil {
		return err
	}
	step("decided")
	if len(there) > 0 {
		r.SetAside = filepath.Join(o.To, j.SetAside)
	}
	_, err = finish(o.To)
	return err
}

// stage copies a file of the backup and reads the copy back.
func stage(ctx context.Context, f File, from, staging string) error {
	source, err := os.Open(filepath.Join(from, f.Name))
	if err != nil {
		return err
	}
	err = write(filepath.Join(staging, f.Name), untilDone{ctx, source})
	if err = errors.Join(err, source.Close()); err != nil {
		return err
	}
	return f.Verify(ctx, staging)
}

// Finish does the rest of a restore that was decided and cut off, if there is one in the data directory, and says whether there was. It deletes what processes that
// were killed have left there of backups and of other restores. Call it before the databases are opened. If there is something to do, it fails if another process has
// them open.
func Finish(dir string) (finished bool, err error) {
	left, err := leftovers(dir)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(filepath.Join(dir, journalFile)); errors.Is(err, fs.ErrNotExist) && len(left) == 0 {
		return false, nil
	}
	err = locked(dir, func() error {
		finished, err = finish(dir)
		return err
	})
	return finished, err
}

func finish(dir string) (bool, error) {
	content, err := os.ReadFile(filepath.Join(dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		left, err := leftovers(dir)
		for _, folder := range left {
			err = errors.Join(err, os.RemoveAll(folder))
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	var j journal
	if err := json.Unmarshal(content, &j); err != nil {
		return false, fmt.Errorf("%s in %s can't be read: %w", journalFile, dir, err)
	}
	staging, aside := filepath.Join(dir, filepath.Base(j.Staging)), filepath.Join(dir, filepath.Base(j.SetAside))
	slices.SortFunc(j.Files, func(a, b string) int { return slices.Index(putOrder, a) - slices.Index(putOrder, b) })
	for _, name := range j.Files {
		if err := put(dir, staging, aside, name); err != nil {
			return false, fmt.Errorf("a restore was cut off, and can't be finished: %w", err)
		}
	}
	if err := os.Remove(filepath.Join(dir, journalFile)); err != nil {
		return false, err
	}
	step("done")
	return true, errors.Join(os.RemoveAll(staging), syncDir(dir))
}

// leftovers are folders of work that is not done. Nobody does it while the databases are locked, unless the journal names the folder.
func leftovers(dir string) ([]string, error) { return foldersOf(dir, stagingDir, workDir) }

// foldersOf returns the paths of what is in dir and whose name begins with one of these.
func foldersOf(dir string, beginnings ...string) (found []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if slices.ContainsFunc(beginnings, func(begin string) bool { return strings.HasPrefix(e.Name(), begin) }) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, err
}

// put moves what is in the place of the file aside, and the file into its place. While the file is still in the staging folder, all that is in its place is old.
func put(dir, staging, aside, name string) error {
	if !slices.Contains(names, name) {
		return fmt.Errorf("%s names the file %.40q, which is not expected there", journalFile, name)
	}
	if _, err := os.Lstat(filepath.Join(staging, name)); errors.Is(err, fs.ErrNotExist) {
		return nil // it is in its place
	}
	there, err := present(dir, []string{name})
	if err != nil {
		return err
	}
	if len(there) > 0 {
		if err := os.MkdirAll(aside, dbfile.DirMode); err != nil {
			return err
		}
	}
	for _, old := range there {
		if err := os.Rename(filepath.Join(dir, old), filepath.Join(aside, old)); err != nil {
			return err
		}
		step("set aside " + old)
	}
	if len(there) > 0 {
		if err := errors.Join(syncDir(aside), syncDir(dir)); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(staging, name), filepath.Join(dir, name)); err != nil {
		return err
	}
	step("put " + name)
	return syncDir(dir)
}

// present returns the files in dir that belong to those of a backup, the logs of databases first: SQLite would take one for the log of what comes next.
func present(dir string, files []string) (there []string, err error) {
	for _, file := range files {
		for _, name := range groups[file] {
			for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
				info, err := os.Lstat(filepath.Join(dir, name+suffix))
				switch {
				case errors.Is(err, fs.ErrNotExist) || slices.Contains(there, name+suffix):
				case err != nil:
					return nil, err
				case !info.Mode().IsRegular():
					return nil, fmt.Errorf("%s is no plain file: move it away", filepath.Join(dir, name+suffix))
				default:
					there = append(there, name+suffix)
				}
			}
		}
	}
	return there, nil
}

// locked runs do while no other process can open the databases of the data directory.
func locked(dir string, do func() error) error {
	for _, name := range []string{Registry, Temporal} {
		lock, err := dbfile.Lock(filepath.Join(dir, name))
		if errors.Is(err, dbfile.ErrInUse) {
			return fmt.Errorf("another process has %s open: stop that one", filepath.Join(dir, name))
		}
		if err != nil {
			return err
		}
		defer func() { _ = lock.Close() }() // which releases it
	}
	return do()
}

// step is told what has just been done; tests kill a process there.
var step = func(string) {}
