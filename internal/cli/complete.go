package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

const (
	// completionTimeout bounds what a press of the tab key waits for.
	completionTimeout = time.Second
	// prefixTimeout bounds what a command waits for to learn what a short id stands for.
	prefixTimeout = 3 * time.Second
	// shownCandidates are named where a short id is ambiguous, and completed.
	shownCandidates = 10
	completedIDs    = 100
	// leastPrefix is the shortest id that a list shows.
	leastPrefix = 8
)

// beginning are the monitored stores whose ids begin with the prefix, sorted, at most n.
func (e *edge) beginning(ctx context.Context, prefix string, n int) ([]api.Store, error) {
	values := url.Values{"limit": {strconv.Itoa(n)}}
	if storemanager.ValidID(prefix) {
		values.Set("cursor", prefix) // the list goes on after it, and whoever has the whole id does not ask
	} else {
		values.Set("limit", strconv.Itoa(pageSize)) // too short for a cursor
	}
	var page api.StoresPage
	if err := e.get(ctx, "/stores?"+values.Encode(), &page); err != nil {
		return nil, err
	}
	var found []api.Store
	for _, s := range page.Stores {
		if strings.HasPrefix(s.ID, prefix) && len(found) < n {
			found = append(found, s)
		}
	}
	return found, nil
}

// fullID returns the id of the store that a short id stands for: the one monitored store whose id begins with it. An id that is known as it is,
// that nothing begins with, or about which the edge can't be asked, is returned as it is: commands that go through Temporal must work
// without the edge. More than one candidate is a failure that names them.
func (a *app) fullID(ctx context.Context, given string) (string, error) {
	if uuid.Validate(given) == nil {
		return given, nil
	}
	e, err := a.edge()
	if err != nil {
		return given, nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(prefixTimeout, a.timeout))
	defer cancel()
	if _, err := e.store(ctx, given); !errors.Is(err, errNotFound) {
		return given, nil
	}
	found, err := e.beginning(ctx, given, shownCandidates+1)
	switch {
	case err != nil, len(found) == 0:
		return given, nil
	case len(found) == 1:
		if !a.json {
			a.tell("starter: %s is %s\n", given, plain(found[0].ID))
		}
		return found[0].ID, nil
	}
	names := make([]string, 0, shownCandidates)
	for _, s := range found[:min(len(found), shownCandidates)] {
		names = append(names, plain(s.ID))
	}
	if len(found) > shownCandidates {
		names = append(names, "and more")
	}
	return "", &failure{exitUsage, "ambiguous", fmt.Sprintf("several stores begin with %s: %s", given, strings.Join(names, ", ")), "give more of the id"}
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

// uniqueLength is how much of an id tells it from its neighbours in the order of all ids, and leastPrefix at least.
func uniqueLength(id, before, after string) int {
	n := leastPrefix
	for _, other := range []string{before, after} {
		same := 0
		for same < min(len(id), len(other)) && id[same] == other[same] {
			same++
		}
		n = max(n, same+1)
	}
	return min(n, len(id))
}

// completeIDs completes the first argument by the ids of monitored stores. If the edge does not say in time, there are none.
func (a *app) completeIDs(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	e, err := a.edge()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	found, _ := e.beginning(ctx, begun, completedIDs) // a shell has no use for an error
	var ids []string
	if storemanager.ValidID(begun) {
		if _, err := e.store(ctx, begun); err == nil {
			ids = append(ids, begun)
		}
	}
	for _, s := range found {
		ids = append(ids, s.ID+"\t"+stateOf(s)+", "+plain(string(s.Status)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// complete completes a flag by values.
func complete(cmd *cobra.Command, flag string, values []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag
}
