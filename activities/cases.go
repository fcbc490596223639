package activities

import (
	"hash/maphash"
	"math/bits"
	"slices"

	"storekeeper/internal/authclient"
)

// foldedIDs finds ids of the two sides that differ in case alone. The two forms stand far apart in the order of ids, so it keeps 8 bytes
// of every id: a hash that is the same for both. Ids that share a hash by chance are only left alone until the next run, which has another
// seed.
type foldedIDs struct {
	seed maphash.Seed
	// Hashes of ids: both are listed and monitored, missing only listed, unlisted only monitored. Each id is in one of the three.
	both, missing, unlisted []uint64
}

// newFoldedIDs has room for so many monitored ids, because a slice that grows would need three times the memory.
func newFoldedIDs(monitored int) foldedIDs {
	return foldedIDs{seed: maphash.MakeSeed(), both: make([]uint64, 0, monitored)}
}

func (f *foldedIDs) hash(id string) uint64 {
	var buffer [64]byte // no id is longer
	folded := append(buffer[:0], id...)
	return maphash.Bytes(f.seed, authclient.Alike(folded[:0], folded))
}

func (f *foldedIDs) addBoth(id string)     { f.both = append(f.both, f.hash(id)) }
func (f *foldedIDs) addMissing(id string)  { f.missing = append(f.missing, f.hash(id)) }
func (f *foldedIDs) addUnlisted(id string) { f.unlisted = append(f.unlisted, f.hash(id)) }

// collisions returns a function that says whether an id stands on one side alone and differs in case alone from an id of the other side;
// nil if there are no such ids. Ids that differ in this way from ids of their own side are different ids: nothing about them is in doubt.
func (f *foldedIDs) collisions() func(id string) bool {
	differ := slices.Concat(f.missing, f.unlisted)
	if len(differ) == 0 {
		return nil
	}
	slices.Sort(differ)
	sides := make([]uint8, len(differ)) // where the hash stands, at the first of its places
	for i, hashes := range [][]uint64{f.both, f.missing, f.unlisted} {
		for _, hash := range hashes {
			if at, found := slices.BinarySearch(differ, hash); found {
				sides[at] |= 1 << i
			}
		}
	}
	colliding := map[uint64]bool{}
	for i, hash := range differ {
		if bits.OnesCount8(sides[i]) > 1 {
			colliding[hash] = true
		}
	}
	if len(colliding) == 0 {
		return nil
	}
	return func(id string) bool { return colliding[f.hash(id)] }
}
