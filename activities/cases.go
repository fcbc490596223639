package activities

import (
	"hash/maphash"
	"slices"
)

// foldedIDs finds ids of the two sides that differ in case alone. It keeps 8 bytes of each monitored id, a hash of it in lower case, for
// the two forms stand far apart in the order of ids. Ids that share a hash by chance (once in some 30 million comparisons of a
// million ids) are only left alone until the next run.
type foldedIDs struct {
	seed maphash.Seed
	// stores are the hashes of the monitored ids, in chunks: one slice that grows would need three times the memory.
	stores [][]uint64
	// missing are those of ids that are listed and not monitored, unlisted those of the reverse, which are among stores too.
	missing, unlisted []uint64
}

const foldedChunk = 1 << 13

func (f *foldedIDs) hash(id string) uint64 {
	var folded [64]byte // no id is longer
	n := copy(folded[:], id)
	for i, b := range folded[:n] {
		if 'A' <= b && b <= 'Z' {
			folded[i] = b | 0x20
		}
	}
	return maphash.Bytes(f.seed, folded[:n])
}

// addMonitored takes an id that is monitored; only there, or listed too.
func (f *foldedIDs) addMonitored(id string, listed bool) {
	hash := f.hash(id)
	last := len(f.stores) - 1
	if last < 0 || len(f.stores[last]) == foldedChunk {
		f.stores = append(f.stores, make([]uint64, 0, foldedChunk))
		last++
	}
	f.stores[last] = append(f.stores[last], hash)
	if !listed {
		f.unlisted = append(f.unlisted, hash)
	}
}

// addMissing takes an id that is listed and not monitored.
func (f *foldedIDs) addMissing(id string) { f.missing = append(f.missing, f.hash(id)) }

// collisions tells the ids that stand on one side alone and differ in case alone from one that is monitored; nil if there are none.
func (f *foldedIDs) collisions() func(id string) bool {
	differ := slices.Concat(f.missing, f.unlisted)
	if len(differ) == 0 || len(f.stores) == 0 {
		return nil
	}
	slices.Sort(differ)
	stores := make([]uint8, len(differ)) // how many stores have the hash: 0, 1 or more
	for _, chunk := range f.stores {
		for _, hash := range chunk {
			if i, found := slices.BinarySearch(differ, hash); found {
				stores[i] = min(stores[i]+1, 2)
			}
		}
	}
	colliding := map[uint64]bool{}
	note := func(hashes []uint64, others uint8) {
		for _, hash := range hashes {
			if i, _ := slices.BinarySearch(differ, hash); stores[i] >= others {
				colliding[hash] = true
			}
		}
	}
	note(f.missing, 1)
	note(f.unlisted, 2) // one is the store itself
	if len(colliding) == 0 {
		return nil
	}
	return func(id string) bool { return colliding[f.hash(id)] }
}
