package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"storekeeper/contract"
)

// noteDisabled marks a schedule that is paused because of the setting, so that a pause of an operator is left alone.
const noteDisabled = "WORKSPACE_RECONCILE_ENABLED is false"

// EnsureSchedule creates the reconcile schedule, or brings it in line with the settings. A pause that an operator made stays.
func (c *Client) EnsureSchedule(ctx context.Context, interval time.Duration, enabled bool) error {
	want := schedule(interval, enabled)
	_, err := c.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:            contract.ReconcileScheduleID,
		Spec:          *want.Spec,
		Action:        want.Action,
		Overlap:       want.Policy.Overlap,
		CatchupWindow: want.Policy.CatchupWindow,
		Paused:        want.State.Paused,
		Note:          want.State.Note,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	handle := c.temporal.ScheduleClient().GetHandle(ctx, contract.ReconcileScheduleID)
	return handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			state := in.Description.Schedule.State
			if byOperator := state.Paused && state.Note != noteDisabled; !byOperator {
				state.Paused, state.Note = want.State.Paused, want.State.Note
			}
			want.State = state
			return &client.ScheduleUpdate{Schedule: &want}, nil
		},
	})
}

func schedule(interval time.Duration, enabled bool) client.Schedule {
	s := client.Schedule{
		Spec: &client.ScheduleSpec{
			Intervals: []client.ScheduleIntervalSpec{{Every: interval}},
			// Several installations must not ask one Auth Worker in the same second.
			Jitter: min(interval/10, 30*time.Second),
		},
		Action: &client.ScheduleWorkflowAction{
			ID:        contract.ScheduledReconcileID,
			Workflow:  contract.TypeScheduledReconcile,
			TaskQueue: contract.TaskQueue,
			Priority:  repair,
		},
		Policy: &client.SchedulePolicies{
			Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
			// One late run repairs as much as all those that were missed. The default would catch up a year of them.
			CatchupWindow: max(time.Minute, min(interval, 10*time.Minute)),
		},
		State: &client.ScheduleState{Paused: !enabled},
	}
	if !enabled {
		s.State.Note = noteDisabled
	}
	return s
}

// Schedule is the state of the reconcile schedule.
type Schedule struct {
	// Every is its interval; 0 when no worker has created the schedule yet.
	Every  time.Duration
	Paused bool
	// Note is a text of whoever paused it.
	Note string
	// Disabled: it is paused because WORKSPACE_RECONCILE_ENABLED is false. No operator ends that.
	Disabled bool
	// UpdatedAt is when it was last changed: while it is paused, most likely when it was paused. Zero if nobody has changed it.
	UpdatedAt time.Time
	// LastActionAt is when it last started a run, or was made; zero when that is not known. A pause that is in force began later.
	LastActionAt time.Time
}

// ReconcileSchedule returns the state of the schedule. ErrUnavailable if Temporal can't be asked.
func (c *Client) ReconcileSchedule(ctx context.Context) (Schedule, error) {
	desc, err := c.temporal.ScheduleClient().GetHandle(ctx, contract.ReconcileScheduleID).Describe(ctx)
	var notFound *serviceerror.NotFound
	switch {
	case errors.As(err, &notFound):
		return Schedule{}, nil
	case err != nil:
		return Schedule{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s := Schedule{Paused: desc.Schedule.State.Paused, Note: desc.Schedule.State.Note}
	if desc.Info.LastUpdateAt.Unix() > 0 { // the SDK makes 1970 of what nobody has changed
		s.UpdatedAt = desc.Info.LastUpdateAt
	}
	s.Disabled = s.Paused && s.Note == noteDisabled
	for _, interval := range desc.Schedule.Spec.Intervals {
		s.Every = interval.Every
	}
	s.LastActionAt = latest(desc.Info.CreatedAt, desc.Info.LastUpdateAt)
	for _, action := range desc.Info.RecentActions {
		s.LastActionAt = latest(s.LastActionAt, action.ActualTime)
	}
	return s, nil
}

// ResumeSchedule ends a pause that an operator made on the schedule, with Temporal's own tools or its Web UI, and returns what it was. It leaves the
// schedule alone, and returns the zero Schedule, if it is not paused, or paused by the setting. ErrUnavailable if Temporal can't be asked.
func (c *Client) ResumeSchedule(ctx context.Context, note string) (Schedule, error) {
	s, err := c.ReconcileSchedule(ctx)
	if err != nil || !s.Paused || s.Disabled {
		return Schedule{}, err
	}
	handle := c.temporal.ScheduleClient().GetHandle(ctx, contract.ReconcileScheduleID)
	if err := handle.Unpause(ctx, client.ScheduleUnpauseOptions{Note: note}); err != nil {
		return Schedule{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s, nil
}
