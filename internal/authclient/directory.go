package authclient

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"
)

// maxDirectory bounds the entries of a Directory. A million of them, with names of 20 letters, take some 150 MB.
const maxDirectory = 1_000_000

// ErrTooMany: the list has more than a million entries, which are not kept in memory.
var ErrTooMany = errors.New("the workspace list has more than a million entries, too many to keep their names")

// Details are what the list says of one workspace, for people to read: nothing is decided by them.
type Details struct {
	ID string
	// Name is as people entered it; "" when the list has none.
	Name string
	// CreatedAt is zero when the list does not say, or nothing that can be read.
	CreatedAt time.Time
	// UserIDs are all members that the list names, sorted; the list does not tell which of them is the owner of a shared workspace.
	UserIDs []string
}

// Directory is a complete list with names, members and times, in memory. It never changes, so it is safe for concurrent use.
type Directory struct {
	ListSummary
	text    []byte // of all entries
	entries []directoryEntry
}

// directoryEntry is one entry: id, name, time and user lie in text one after the other. Entries are sorted by id and user.
type directoryEntry struct {
	start                   int
	id, name, created, user uint16
}

// Directory fetches the whole list, as Sorted does, and keeps what it says of valid ids. Its errors are those of Sorted, and ErrTooMany.
func (c *Client) Directory(ctx context.Context) (*Directory, error) {
	d := &Directory{}
	got, err := c.fetch(ctx, fetch{detailed: true, yield: d.add})
	if err != nil {
		return nil, err
	}
	d.ListSummary = got.ListSummary
	slices.SortFunc(d.entries, func(a, b directoryEntry) int {
		return cmp.Or(bytes.Compare(d.idOf(a), d.idOf(b)), bytes.Compare(d.userOf(a), d.userOf(b)))
	})
	return d, nil
}

// maxText bounds each text of an entry.
const maxText = 1 << 10

func (d *Directory) add(e *entry) error {
	if !e.valid {
		return nil
	}
	if len(d.entries) == maxDirectory {
		return ErrTooMany
	}
	put := func(text []byte) uint16 {
		text = text[:min(len(text), maxText)]
		d.text = append(d.text, text...)
		return uint16(len(text)) //nolint:gosec // at most maxText
	}
	d.entries = append(d.entries, directoryEntry{
		start: len(d.text), id: put(e.id), name: put(e.name), created: put(e.created), user: put(e.user),
	})
	return nil
}

func (d *Directory) idOf(e directoryEntry) []byte { return d.text[e.start : e.start+int(e.id)] }

func (d *Directory) userOf(e directoryEntry) []byte {
	from := e.start + int(e.id) + int(e.name) + int(e.created)
	return d.text[from : from+int(e.user)]
}

// Details returns what the list says of the workspace; false when it lacks it.
func (d *Directory) Details(id string) (Details, bool) {
	for w := range d.From(id) {
		return w, w.ID == id
	}
	return Details{}, false
}

// From yields the workspaces whose ids are not less than id, in ascending order of their bytes, each once.
func (d *Directory) From(id string) iter.Seq[Details] {
	return func(yield func(Details) bool) {
		at := sort.Search(len(d.entries), func(i int) bool { return string(d.idOf(d.entries[i])) >= id })
		for at < len(d.entries) {
			end := at + 1
			for end < len(d.entries) && bytes.Equal(d.idOf(d.entries[at]), d.idOf(d.entries[end])) {
				end++
			}
			if !yield(d.workspace(d.entries[at:end])) {
				return
			}
			at = end
		}
	}
}

// workspace is made of all entries of one id. Its name and time are the first that are there.
func (d *Directory) workspace(entries []directoryEntry) Details {
	w := Details{ID: string(d.idOf(entries[0]))}
	for _, e := range entries {
		name := d.text[e.start+int(e.id):][:e.name]
		created := d.text[e.start+int(e.id)+int(e.name):][:e.created]
		w.Name = cmp.Or(w.Name, strings.ToValidUTF8(string(name), "\ufffd"))
		if at, err := time.Parse(time.RFC3339, string(created)); err == nil && w.CreatedAt.IsZero() {
			w.CreatedAt = at.UTC()
		}
		if user := string(d.userOf(e)); user != "" {
			w.UserIDs = append(w.UserIDs, user)
		}
	}
	return w
}
