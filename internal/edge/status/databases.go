package status

import (
	"fmt"
	"path/filepath"
	"time"

	"storekeeper/internal/dbfile"
)

// Databases is what is known of the databases of the process.
type Databases struct {
	Usage []dbfile.Usage
	// Replaced is the database of the embedded Temporal that was replaced by a new one; nil if none was.
	Replaced *ReplacedDatabase
}

// ReplacedDatabase is a database of a version of Temporal that this version can't go on with.
type ReplacedDatabase struct {
	At       time.Time
	Version  string
	SetAside string // its file
}

// replacedNews is for how long health speaks of a database that was replaced. Nothing is to be done, but an operator may want to look.
const replacedNews = 24 * time.Hour

// warnings names files only to those who bring the token.
func (d Databases) warnings(now time.Time, trusted bool) []string {
	var found []string
	for _, u := range d.Usage {
		if low(u) {
			found = append(found, fmt.Sprintf("disk: %d %% of the file system of the database %s is free, %d MiB of %d",
				100*u.DiskFree/max(u.DiskSize, 1), u.Name, u.DiskFree>>20, u.DiskSize>>20))
			break // they lie together
		}
	}
	if r := d.Replaced; r != nil && now.Sub(r.At) < replacedNews {
		warning := fmt.Sprintf("temporal: its database was of another version (%s), and was replaced by a new one at %s; "+
			"pending deletions, pauses and events without an outcome go on from the registry", r.Version, r.At.UTC().Format(time.RFC3339))
		if trusted {
			warning += "; the old one is " + filepath.Base(r.SetAside)
		}
		found = append(found, warning)
	}
	return found
}

// low says whether less than a tenth of the file system is free, and less than 10 GiB.
func low(u dbfile.Usage) bool {
	const plenty = 10 << 30
	return u.DiskFree < u.DiskSize/10 && u.DiskFree < plenty
}
