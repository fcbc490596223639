package activities

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"storekeeper/internal/authclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/telemetry"
)

// Guard bounds what one plan may remove.
type Guard struct {
	// MaxDeletePercent of the monitored stores, 0 to 100.
	MaxDeletePercent int
	// MaxDeletes in all.
	MaxDeletes int
}

const (
	// guardMinMonitored: below it a percentage means nothing.
	guardMinMonitored = 10
	// maxPlanned bounds the ids of each kind in a plan: both together stay under 256 KiB of history.
	maxPlanned = 3000
	// maxQuarantined bounds the invalid ids that are reported one by one, and maxQuarantinedLength each of them.
	maxQuarantined       = 20
	maxQuarantinedLength = 64
	// pendingOverdue is how long after its DeleteAt a pending deletion is still believed to be somebody's. Then whoever
	// waited for it is taken to be gone (a terminated workflow), and the store is an orphan like any other.
	pendingOverdue = time.Hour
)

// CompareInput starts a round of a run.
type CompareInput struct {
	reconcilePhase
	// RunStartedAt: sightings since then do not confirm themselves.
	RunStartedAt time.Time `json:"runStartedAt"`
	// ApprovedPlan is the hash of the plan that may pass the guard; "" is none.
	ApprovedPlan string `json:"approvedPlan,omitempty"`
	// ApprovedOrphans is the size of the plan that an earlier round has found approved. Only orphans that had been sighted before
	// the run are confirmed by it, so no more than these can be left.
	ApprovedOrphans int `json:"approvedOrphans,omitempty"`
	// Confirm: a second sighting makes an orphan. Without it all stay first sightings.
	Confirm bool `json:"confirm"`
}

// Plan is what one comparison of both sides found. Its lists are bounded; the counts are not.
type Plan struct {
	// ListAt is the start of the fetch of the authoritative list.
	ListAt             time.Time `json:"listAt"`
	AuthoritativeCount int       `json:"authoritativeCount"`
	MonitoredCount     int       `json:"monitoredCount"`
	MissingCount       int       `json:"missingCount"`
	Missing            []string  `json:"missing,omitempty"`
	OrphanCount        int       `json:"orphanCount"`
	Orphans            []string  `json:"orphans,omitempty"`
	FirstSightings     int       `json:"firstSightings"`
	Skipped            Skipped   `json:"skipped"`
	QuarantinedCount   int       `json:"quarantinedCount"`
	Quarantined        []string  `json:"quarantined,omitempty"`
	Hash               string    `json:"hash,omitempty"`
	Guard              string    `json:"guard,omitempty"`
}

// CompareLists fetches the authoritative list, compares it with what is monitored, and keeps first sightings. It repairs
// nothing. A list that is not complete is an error.
func (r *Reconcile) CompareLists(ctx context.Context, in CompareInput) (Plan, error) {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	c := comparison{input: in}
	if err := c.fetch(ctx, r.AuthWorker); err != nil {
		return Plan{}, wrap(err)
	}
	if err := c.compare(ctx, r.Manager); err != nil {
		return Plan{}, wrap(err)
	}
	if len(c.orphans) > 0 {
		c.plan.Hash = hashIDs(c.orphans)
	}
	c.plan.OrphanCount = len(c.orphans)
	c.plan.Guard = r.Guard.verdict(c.plan, in)
	if c.plan.Guard == "" {
		c.plan.Orphans = c.orphans[:min(len(c.orphans), maxPlanned)]
	} else {
		activity.GetLogger(ctx).Warn("reconcile guard tripped", telemetry.KeyReason, c.plan.Guard, telemetry.KeyPlanHash, c.plan.Hash)
	}
	return c.plan, nil
}

// verdict is "" when the plan's removals may be carried out, else why not. It counts first sightings too: a list that lacks
// so much is not to be believed about the little that the list before lacked as well.
func (g Guard) verdict(p Plan, in CompareInput) string {
	lacking := p.OrphanCount + p.FirstSightings
	switch {
	case p.AuthoritativeCount == 0 && p.MonitoredCount > 0:
		return "the authoritative list is empty: nothing is removed"
	case p.OrphanCount == 0, p.MonitoredCount < guardMinMonitored:
		return ""
	case in.ApprovedPlan != "" && in.ApprovedPlan == p.Hash, p.OrphanCount <= in.ApprovedOrphans:
		return ""
	case lacking > g.MaxDeletes:
		return fmt.Sprintf("the list lacks %d stores, more than RECONCILE_MAX_DELETES (%d): nothing is removed before plan %s is approved",
			lacking, g.MaxDeletes, p.Hash)
	case lacking*100 > g.MaxDeletePercent*p.MonitoredCount:
		return fmt.Sprintf("the list lacks %d of %d stores, more than RECONCILE_MAX_DELETE_PERCENT (%d): nothing is removed before plan %s is approved",
			lacking, p.MonitoredCount, g.MaxDeletePercent, p.Hash)
	}
	return ""
}

func hashIDs(sorted []string) string {
	h := sha256.New()
	for _, id := range sorted {
		h.Write([]byte(id + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// comparison is a merge of the sorted authoritative ids with the store manager's sorted pages.
type comparison struct {
	input  CompareInput
	listed []string // sorted, each once
	plan   Plan
	// orphans are all that two lists agree on, sorted.
	orphans []string
	marks   storemanager.MissingMarks
}

// fetch collects the valid ids. Those that can be no store's are set aside.
func (c *comparison) fetch(ctx context.Context, l Lister) error {
	quarantined := map[string]bool{}
	entries := 0
	summary, err := l.List(ctx, func(w authclient.Workspace) error {
		if entries++; entries%1000 == 0 {
			activity.RecordHeartbeat(ctx)
		}
		if storemanager.ValidID(w.InstanceID) {
			c.listed = append(c.listed, w.InstanceID)
			return nil
		}
		if !quarantined[w.InstanceID] {
			quarantined[w.InstanceID] = true
			if len(c.plan.Quarantined) < maxQuarantined {
				c.plan.Quarantined = append(c.plan.Quarantined, w.InstanceID[:min(len(w.InstanceID), maxQuarantinedLength)])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(c.listed)
	c.listed = slices.Compact(c.listed) // a shared workspace is listed once per member
	c.plan.ListAt = summary.FetchStartedAt
	c.plan.AuthoritativeCount = len(c.listed)
	c.plan.QuarantinedCount = len(quarantined)
	c.marks.ListAt = summary.FetchStartedAt
	return nil
}

// compare walks both sides in the order of ids. An empty list marks nothing: it is no sighting.
func (c *comparison) compare(ctx context.Context, m ReconcileKeeper) error {
	next := 0
	for cursor, more := "", true; more; {
		page, err := m.List(ctx, storemanager.ListRequest{Cursor: cursor, Limit: storemanager.MaxBatch})
		if err != nil {
			return err
		}
		for _, s := range page.Stores {
			for next < len(c.listed) && c.listed[next] < s.ID {
				c.missing(c.listed[next])
				next++
			}
			c.plan.MonitoredCount++
			if next < len(c.listed) && c.listed[next] == s.ID {
				next++
				if s.MissingSince != nil {
					c.marks.Listed = append(c.marks.Listed, s.ID)
				}
			} else if len(c.listed) > 0 {
				c.unlisted(s)
			}
		}
		if err := c.flushMarks(ctx, m); err != nil {
			return err
		}
		activity.RecordHeartbeat(ctx)
		cursor, more = page.NextCursor, page.NextCursor != ""
	}
	for ; next < len(c.listed); next++ {
		c.missing(c.listed[next])
	}
	return nil
}

func (c *comparison) missing(id string) {
	c.plan.MissingCount++
	if len(c.plan.Missing) < maxPlanned {
		c.plan.Missing = append(c.plan.Missing, id)
	}
}

// unlisted decides what a monitored store is that the list lacks.
func (c *comparison) unlisted(s storemanager.Store) {
	young := func(t *time.Time) bool { return t != nil && !t.Before(c.plan.ListAt) }
	switch {
	case young(s.LastEnsuredAt), young(&s.EventAt):
		c.plan.Skipped.TooYoung++
	case s.Hold != nil:
		c.plan.Skipped.Held++
	case s.Pinned:
		c.plan.Skipped.Pinned++
	case s.Deletion != nil && c.plan.ListAt.Before(s.Deletion.DeleteAt.Add(pendingOverdue)):
		c.plan.Skipped.Pending++
	case c.input.Confirm && s.MissingSince != nil && s.MissingSince.Before(c.input.RunStartedAt):
		c.orphans = append(c.orphans, s.ID)
	default:
		c.plan.FirstSightings++
		if s.MissingSince == nil {
			c.marks.Missing = append(c.marks.Missing, s.ID)
		}
	}
}

func (c *comparison) flushMarks(ctx context.Context, m ReconcileKeeper) error {
	if len(c.marks.Missing)+len(c.marks.Listed) == 0 {
		return nil
	}
	err := m.MarkMissing(ctx, c.marks)
	c.marks.Missing, c.marks.Listed = nil, nil
	return err
}
