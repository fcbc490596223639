package api

import (
	"time"

	"storekeeper/internal/storemanager"
)

// Installation is what the system consists of. Only those who bring a token see it.
type Installation struct {
	// Workers are those that live; null when Temporal can't be asked.
	Workers []Worker `json:"workers"`
	// StoreManagerVersion is left out where it is the edge's own process, and where it is not known.
	StoreManagerVersion string `json:"storeManagerVersion,omitempty"`
	// VersionSkew: not all processes are of one version.
	VersionSkew bool `json:"versionSkew"`
	// StoreManagerAheadMs is how far the clock of the store manager is ahead of the edge's, in milliseconds, and half of the time of the question
	// more or less; null where it is the edge's own process, and where it is not known.
	StoreManagerAheadMs *int64 `json:"storeManagerAheadMs"`
	// Databases are those of the edge's process and of the store manager; empty where nobody tells.
	Databases []storemanager.DatabaseSize `json:"databases"`
}

// Worker is a worker that lives.
type Worker struct {
	Identity string `json:"identity"`
	// Version is left out of a worker that does not tell.
	Version string    `json:"version,omitempty"`
	SeenAt  time.Time `json:"seenAt"`
}
