package authclient

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"slices"
)

// maxEntries is ten times what is planned for. It bounds the memory that a tally takes, 16 bytes an entry.
const maxEntries = 10_000_000

// tally counts the different entries and users of a list, all its pages together, by hashes of 64 bits. In one of 37 million lists with a
// million entries two different ones have the same hash (n²/2⁶⁵). Such a list is taken for damaged, and the next one, with other hashes,
// is not.
type tally struct {
	idSeed, userSeed maphash.Seed
	pairs, users     hashes
	newestUser       uint64                  // the entries of one user often follow each other
	withUser         int                     // entries that name their user
	ids              [sha256.Size / 8]uint64 // ListSummary.Hash
}

func newTally() *tally { return &tally{idSeed: maphash.MakeSeed(), userSeed: maphash.MakeSeed()} }

// hash is ListSummary.Hash.
func (t *tally) hash() string {
	var sum []byte
	for _, word := range t.ids {
		sum = binary.BigEndian.AppendUint64(sum, word)
	}
	return hex.EncodeToString(sum)
}

func (t *tally) add(e *entry) {
	id := sha256.Sum256(e.id)
	for i := range t.ids {
		t.ids[i] += binary.BigEndian.Uint64(id[8*i:])
	}
	pair := maphash.Bytes(t.idSeed, e.id)
	if len(e.user) > 0 {
		user := maphash.Bytes(t.userSeed, e.user)
		pair ^= user // of another seed, or whatever names its user as itself would be the same
		if t.withUser++; t.withUser == 1 || user != t.newestUser {
			t.users.add(user)
			t.newestUser = user
		}
	}
	t.pairs.add(pair)
}

// check compares the list with what it says of itself, and looks for entries that come twice.
func (t *tally) check(s ListSummary, c *claims) error {
	switch {
	case t.withUser > 0 && t.withUser < s.Entries:
		return damaged("%d of its %d entries name no user", s.Entries-t.withUser, s.Entries)
	case c != nil && c.workspaces != s.Entries:
		return damaged("it has %d entries and says that it has %d", s.Entries, c.workspaces)
	}
	if twice := s.Entries - t.pairs.distinct(); twice > 0 {
		return damaged("%d of its %d entries come twice, with the same user", twice, s.Entries)
	}
	if c == nil || c.users == nil {
		return nil
	}
	if users := t.users.distinct(); users != *c.users {
		return damaged("it has %d users and says that it has %d", users, *c.users)
	}
	return nil
}

const (
	hashBuckets = 1 << 8
	// hashChunk is how many hashes a bucket makes room for at most. append would copy, and leave as much garbage again.
	hashChunk = 512
)

// hashes holds hashes by their first bits, so that each part can be sorted in the processor's cache. Its zero value is ready.
type hashes struct {
	buckets [hashBuckets][][]uint64
	count   int
}

func (h *hashes) add(v uint64) {
	b := &h.buckets[v>>56]
	last := len(*b) - 1
	if last < 0 || len((*b)[last]) == cap((*b)[last]) {
		room := min(hashChunk, 4+h.count/hashBuckets) // about as much as the bucket has
		*b = append(*b, make([]uint64, 0, room))
		last++
	}
	(*b)[last] = append((*b)[last], v)
	h.count++
}

// distinct counts the different ones.
func (h *hashes) distinct() int {
	n := 0
	var sorted []uint64
	for _, bucket := range h.buckets {
		sorted = sorted[:0]
		for _, chunk := range bucket {
			sorted = append(sorted, chunk...)
		}
		slices.Sort(sorted)
		n += len(slices.Compact(sorted))
	}
	return n
}
