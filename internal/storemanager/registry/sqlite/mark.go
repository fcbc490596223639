package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"storekeeper/internal/dbfile"
)

// position is how far a registry has come: which one it is, and how many changes it has seen.
type position struct {
	identity string // 32 hex digits
	changes  int64
}

// The file of a mark has two slots, each a line of text at the beginning of a block. They are written alternately, so that a write that a power loss cuts off
// spoils only the older one.
const (
	markSlots = 2
	markBlock = 4096 // of disks and file systems
	markSize  = 128  // of a slot, with room for any number
	markLine  = "storekeeper registry %s has seen %d changes"
)

// mark is the high-water mark of a registry. It is in a file apart from the database and its log, because SQLite says nothing when a log was cut, deleted or
// damaged, or when an old file is in place. The mark is written after each commit and before the answer. So it may be behind the registry, when the process
// was killed in between, but it is never ahead of it.
//
// No change waits for the disk because of the mark. What is written survives the end of the process at once, and a power loss once sync has run.
type mark struct {
	path string
	log  *zap.Logger

	mu       sync.Mutex
	file     *os.File // nil until create or resume
	at       position // what was written last
	slot     int64    // where it was written
	unsynced bool
	failing  bool // the newest write has failed
}

// markOf names the file of the mark of the database at path. The name does not begin with the database's, or whoever deletes or restores stores.db* would take
// the mark along.
func markOf(path string) string {
	return filepath.Join(filepath.Dir(path), "registry-mark-of-"+filepath.Base(path))
}

var (
	errNoMark      = errors.New("there is no mark")
	errDamagedMark = errors.New("the mark can't be read: it was damaged, or changed by hand")
)

// read returns what the file says. It fails with errNoMark if there is no file, and with errDamagedMark if no slot of it can be believed.
func (m *mark) read() (position, error) {
	content, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return position{}, errNoMark
	}
	if err != nil {
		return position{}, err
	}
	m.at = position{}
	for slot := range int64(markSlots) {
		line := content[min(slot*markBlock, int64(len(content))):min(slot*markBlock+markSize, int64(len(content)))]
		if p, ok := parseSlot(line); ok && p.changes >= m.at.changes {
			m.at, m.slot = p, slot
		}
	}
	if m.at.identity == "" {
		return position{}, errDamagedMark
	}
	return m.at, nil
}

// slot is the line that says p, with a checksum.
func (p position) slot() []byte {
	line := fmt.Sprintf(markLine, p.identity, p.changes)
	return fmt.Appendf(nil, "%-*s\n", markSize-1, fmt.Sprintf("%s, %08x", line, crc32.ChecksumIEEE([]byte(line))))
}

func parseSlot(line []byte) (p position, ok bool) {
	if _, err := fmt.Sscanf(string(line), markLine, &p.identity, &p.changes); err != nil {
		return position{}, false
	}
	return p, string(line) == string(p.slot())
}

// create makes a new file of the mark, whatever is there, and returns once it is on the disk.
func (m *mark) create(p position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replace(p)
}

func (m *mark) replace(p position) error {
	next := m.path + ".new"
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, dbfile.Mode)
	if err != nil {
		return err
	}
	// It writes all of the file, which then has the room that it needs when the disk gets full, and can be shown.
	_, err = f.Write(bytes.Repeat(append(p.slot(), bytes.Repeat([]byte("\n"), markBlock-markSize)...), markSlots))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, m.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(m.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if m.file != nil {
		_ = m.file.Close() // nothing of it is wanted any more
	}
	m.file, m.at, m.unsynced = f, p, false
	return nil
}

// resume goes on with the file that was read.
func (m *mark) resume(p position) error {
	f, err := os.OpenFile(m.path, os.O_RDWR, dbfile.Mode)
	if err != nil {
		return err
	}
	_ = f.Chmod(dbfile.Mode) // there is nothing secret in it
	m.mu.Lock()
	m.file = f
	m.mu.Unlock()
	m.set(p)
	return nil
}

// set makes the mark say p, unless it says more. If the write fails, the change is made all the same: only the mark is behind then, until the next change.
func (m *mark) set(p position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil || p.identity == m.at.identity && p.changes <= m.at.changes {
		return
	}
	slot := (m.slot + 1) % markSlots
	if _, err := m.file.WriteAt(p.slot(), slot*markBlock); err != nil {
		if !m.failing {
			m.log.Error("the mark of the registry can't be written: a loss of its newest changes would not be noticed", zap.Error(err))
		}
		m.failing = true
		return
	}
	m.at, m.slot, m.unsynced, m.failing = p, slot, true, false
}

// sync makes what was written survive a power loss, and makes the file anew if it is no longer where it will be looked for. Only one sync may be under way.
func (m *mark) sync() error {
	m.mu.Lock()
	file, unsynced := m.file, m.unsynced
	m.unsynced = false
	if file != nil && !sameFile(file, m.path) {
		defer m.mu.Unlock()
		return m.replace(m.at)
	}
	m.mu.Unlock() // no change waits for the disk a second time
	if file == nil || !unsynced {
		return nil
	}
	return file.Sync()
}

func (m *mark) close() error {
	err := m.sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return err
	}
	err = errors.Join(err, m.file.Close())
	m.file = nil
	return err
}

// sameFile says whether the open file is the one at path.
func sameFile(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
