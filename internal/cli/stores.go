package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/shortid"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// due says when the store is to be stopped. If that time has passed, the re-check has not ended yet.
func due(deleteAt time.Time) string {
	if deleteAt.Before(time.Now()) {
		return "to be stopped since " + text.Moment(deleteAt) + ", waiting for the Auth Worker or the store manager"
	}
	return "to be stopped at " + text.Moment(deleteAt)
}

// connectionOf is the state of the live connection, and the reason for it.
func connectionOf(s api.Store) string {
	if s.StatusReason == "" {
		return cmp.Or(string(s.Status), "unknown")
	}
	return string(s.Status) + ": " + s.StatusReason
}

// why is what is exceptional about a store, in words.
func why(s api.Store) string {
	var all []string
	if s.StatusReason != "" {
		all = append(all, s.StatusReason)
	}
	if s.Deletion != nil {
		all = append(all, due(s.Deletion.DeleteAt))
	}
	if s.Hold != nil {
		until := "until released"
		if s.Hold.ExpiresAt != nil {
			until = "until " + text.Moment(*s.Hold.ExpiresAt)
		}
		all = append(all, fmt.Sprintf("held by %s %s: %s", s.Hold.Actor, until, s.Hold.Reason))
	}
	if s.Pinned {
		all = append(all, "pinned by STORE_IDS")
	}
	if s.Pause != nil {
		all = append(all, fmt.Sprintf("paused by %s %s: %s", s.Pause.Actor, untilWhen(s.Pause.ExpiresAt), s.Pause.Reason))
	}
	if s.UnlistedSince != nil {
		all = append(all, "not listed by the Auth Worker since "+text.Moment(*s.UnlistedSince))
	}
	return strings.Join(all, "; ")
}

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status ID",
		Short: "Show what is known of a store, and what is under way for its workspace",
		Long: `Show what is known of a store (from the edge) and what is under way for its workspace (from Temporal).

What one side knows is shown when the other does not answer; the exit code is then that of the side that failed.

With --watch it is shown anew every 2 s until Ctrl-C, which is exit code 0; without a terminal there is a line for each change.`,
		Example: `  starter status ws-1
  temporal workflow query --workflow-id workspace/ws-1 --type status   # what is under way, from Temporal alone`,
		Args: storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch {
				return a.watch(cmd.Context(), func(ctx context.Context, a *app) ([]watched, error) { return a.watchedStatus(ctx, args[0]) })
			}
			return a.status(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show changes until Ctrl-C")
	return cmd
}

// status asks both sides and shows what it got.
func (a *app) status(ctx context.Context, id string) error {
	k, err := a.know(ctx, id)
	if err != nil {
		return err
	}
	if a.json {
		a.writeJSON(k.fields())
	} else {
		a.printKnown(k)
	}
	return both(k.edgeErr, k.temporalErr)
}

// watchedStatus is the one store, for a watch.
func (a *app) watchedStatus(ctx context.Context, id string) ([]watched, error) {
	k, err := a.know(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := both(k.edgeErr, k.temporalErr); err != nil {
		return nil, err
	}
	s := k.store
	parts := []string{id, cmp.Or(s.Orchestrator.Status, "unknown"), connectionOf(s.Store), "under way: " + underWay(k.lifecycle)}
	for _, c := range s.Conditions {
		if c.Status {
			parts = append(parts, string(c.Type)+" "+c.Reason)
		}
	}
	value, _ := json.Marshal(k.fields()) // it was JSON
	return []watched{{key: id, line: strings.Join(parts, "  "), value: value}}, a.show(func(a *app) error {
		a.printKnown(k)
		return nil
	})
}

// know asks both sides. The error is that nothing is known, or of the settings.
func (a *app) know(ctx context.Context, id string) (known, error) {
	e, err := a.edge()
	if err != nil {
		return known{}, err
	}
	k := known{id: id}
	k.raw, k.edgeErr = e.Store(ctx, id)
	if errors.Is(k.edgeErr, edgeclient.ErrNotFound) {
		k.raw, k.edgeErr = nil, nil
	}
	k.lifecycle, k.temporalErr = a.lifecycle(ctx, id)
	switch {
	case ctx.Err() != nil:
		return k, exit.Interruption("nothing was changed", "")
	case k.edgeErr == nil && k.raw == nil && k.temporalErr == nil && k.lifecycle == nil:
		return k, exit.Fail(exit.NotFound, "not_found", "nothing is known of "+id, "starter list shows what is monitored")
	}
	if k.raw != nil && json.Unmarshal(k.raw, &k.store) != nil {
		k.raw, k.edgeErr = nil, e.Unreachable("does not answer as Storekeeper does")
	}
	if k.temporalErr != nil {
		k.lifecycle = k.store.Lifecycle // the edge may have reached Temporal
	}
	return k, nil
}

// lifecycle is nil without an error when nothing is under way.
func (a *app) lifecycle(ctx context.Context, id string) (*contract.LifecycleStatus, error) {
	c, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	status, err := c.LifecycleStatus(ctx, id)
	if err != nil {
		return nil, c.Failure(c.Explained(ctx, err))
	}
	return status, nil
}

// known is what both sides know of a store.
type known struct {
	id string
	// raw is the edge's own object, nil when it has none; store is the same, decoded.
	raw     json.RawMessage
	store   api.StoreDetails
	edgeErr error

	lifecycle   *contract.LifecycleStatus
	temporalErr error
}

// fields are the edge's, with the lifecycle as Temporal itself knows it.
func (k known) fields() any {
	fields := map[string]json.RawMessage{}
	_ = json.Unmarshal(k.raw, &fields) // it has been decoded before, or there is none
	set := func(name string, v any) { fields[name], _ = json.Marshal(v) }
	set("id", k.id)
	if k.temporalErr == nil {
		set("lifecycle", k.lifecycle)
		delete(fields, "lifecycleError")
	}
	return fields
}

func (a *app) printKnown(k known) {
	a.printf("%s\n", k.id)
	s := k.store
	switch {
	case k.edgeErr != nil:
		a.printf("  store      not known: the edge did not say\n")
	case k.raw == nil:
		a.printf("  store      none\n")
	default:
		a.printf("  store      %s\n", cmp.Or(s.Orchestrator.Status, "unknown"))
		a.printf("  connection %s\n", connectionOf(s.Store))
		if s.Head > 0 {
			a.printf("  events     %d received, %d processed\n", s.Head, s.Processed)
		}
	}
	s.StatusReason = "" // it is printed already
	if why := why(s.Store); why != "" {
		a.printf("  state      %s\n", why)
	}
	switch t := s.Orchestrator.FirstMonitoredAt; {
	case t == nil:
	case s.Orchestrator.Status == "stopped":
		a.printf("  monitored  first %s\n", text.Moment(*t))
	default:
		a.printf("  monitored  since %s\n", text.Moment(*t))
	}
	if t := s.Orchestrator.LastStoppedAt; t != nil {
		a.printf("  stopped    %s\n", text.Moment(*t))
	}
	if k.temporalErr != nil && k.lifecycle == nil {
		a.printf("  under way  not known: Temporal did not say\n")
	} else {
		a.printf("  under way  %s\n", underWay(k.lifecycle))
	}
	a.printConditions(s)
	a.printEvents(s)
}

func (a *app) printConditions(s api.StoreDetails) {
	if len(s.Conditions) > 0 {
		a.printf("  conditions\n")
	}
	for _, c := range s.Conditions {
		line := c.Reason
		if c.Message != "" {
			line += ": " + c.Message
		}
		if c.Since != nil {
			line += "; since " + text.Moment(*c.Since)
		}
		if c.NextAttempt != nil {
			line += "; next " + text.Moment(*c.NextAttempt)
		}
		status := strconv.FormatBool(c.Status)
		if c.Unknown {
			status = "unknown"
		}
		a.printf("    %-16s %-7s %s\n", c.Type, status, line)
	}
}

func (a *app) printEvents(s api.StoreDetails) {
	if len(s.History) > 0 {
		a.printf("  last events\n")
	}
	for _, e := range s.History {
		a.printf("    %s\n", strings.TrimSpace(fmt.Sprintf("%s  %s  %s  %s", text.Moment(e.At), e.Kind, e.Outcome, e.Detail)))
	}
}

func underWay(l *contract.LifecycleStatus) string {
	switch {
	case l == nil:
		return "nothing"
	case l.Deletion != nil:
		return fmt.Sprintf("a deletion, asked for by %s, due %s", l.Deletion.Source, text.Moment(l.Deletion.DeleteAt))
	case l.LastEvent != nil:
		return "the event " + string(l.LastEvent.Type)
	}
	return "an event"
}

// both joins the failures of the two sides: both messages, with the exit code of the edge's. Nil if neither failed.
func both(edgeErr, temporalErr error) error {
	var first, second *exit.Failure
	switch {
	case !errors.As(edgeErr, &first):
		return temporalErr
	case !errors.As(temporalErr, &second):
		return edgeErr
	}
	return exit.Fail(first.Exit, first.Code, first.Error(), second.Error())
}

const (
	// completionTimeout bounds what a press of the tab key waits for.
	completionTimeout = time.Second
	// prefixTimeout bounds what a command waits for to learn what a short id stands for.
	prefixTimeout = 3 * time.Second
	// completedIDs is how many ids are completed.
	completedIDs = 100
)

// fullID is shortid.Full. It says which store a short id stands for.
func (a *app) fullID(ctx context.Context, given string) (string, error) {
	e, err := a.edge()
	if err != nil {
		return given, nil // commands that go through Temporal must work without the edge
	}
	ctx, cancel := context.WithTimeout(ctx, min(prefixTimeout, a.timeout))
	defer cancel()
	full, err := shortid.Full(ctx, e, given)
	if err == nil && full != given && !a.json {
		a.tell("starter: %s is %s\n", given, text.Plain(full))
	}
	return full, err
}

// onStore makes a command take a short id of at least so many characters as its first argument, and complete it. What changes something
// wants more of them: a script that names a store which has gone must not meet another one.
func (a *app) onStore(cmd *cobra.Command, least int) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && len(args[0]) >= least {
			full, err := a.fullID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			args[0] = full
		}
		return run(cmd, args)
	}
	cmd.ValidArgsFunction = a.completeID
	return cmd
}

// completeID completes the first argument by the ids of monitored stores.
func (a *app) completeID(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeIDs(cmd, args, begun)
}

// completeIDs completes arguments by the ids of monitored stores. If the edge does not say in time, there are none.
func (a *app) completeIDs(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	e, err := a.edge()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	found, _ := shortid.Beginning(ctx, e, begun, completedIDs) // a shell has no use for an error
	var ids []string
	if storemanager.ValidID(begun) {
		if _, err := e.Store(ctx, begun); err == nil {
			ids = append(ids, begun)
		}
	}
	for _, s := range found {
		ids = append(ids, s.ID+"\t"+stateOf(s)+", "+text.Plain(string(s.Status)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// complete completes a flag by values.
func complete(cmd *cobra.Command, flag string, values []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag
}
