package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/shortid"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/storemanager"
)

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
		return given, nil //nolint:nilerr // commands that go through Temporal must work without the edge
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
	cmd.ValidArgsFunction = a.completeIDs
	return cmd
}

// completeIDs completes the first argument by the ids of monitored stores. If the edge does not say in time, there are none.
func (a *app) completeIDs(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	e, err := a.edge()
	if err != nil || len(args) > 0 {
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
