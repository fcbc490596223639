package storemanager

import "time"

// Examination is what a process found when it checked itself and those that it asks.
type Examination struct {
	// Time is the process's clock when the answer was made, Version its build.
	Time     time.Time `json:"time"`
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
}

// Finding is what one check came to. Its texts are safe to show: they hold no secret.
type Finding struct {
	// Place is where the check was made: here, edge or store manager.
	Place string `json:"place"`
	// Check is what was checked, in a word or two.
	Check  string        `json:"check"`
	Status FindingStatus `json:"status"`
	// Detail is what was found. Todo is what to do about it; "" unless Status is FindingFailed, or something is to be done to know.
	Detail string `json:"detail,omitempty"`
	Todo   string `json:"todo,omitempty"`
}

// FindingStatus says how a check ended.
type FindingStatus string

// The statuses.
const (
	FindingOK     FindingStatus = "ok"
	FindingFailed FindingStatus = "failed"
	// FindingUnknown: it can't be checked from there, and is no failure.
	FindingUnknown FindingStatus = "unknown"
)
