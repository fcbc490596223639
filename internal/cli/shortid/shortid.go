// Package shortid finds out which store the beginning of an id stands for.
package shortid

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

const (
	// Least is the shortest id that a list shows.
	Least = 8
	// shown candidates are named where a short id is ambiguous.
	shown = 10
)

// Beginning are the monitored stores whose ids begin with the prefix, sorted, at most n.
func Beginning(ctx context.Context, e *edgeclient.Client, prefix string, n int) ([]api.Store, error) {
	values := url.Values{"limit": {strconv.Itoa(n)}}
	if storemanager.ValidID(prefix) {
		values.Set("cursor", prefix) // the list goes on after it, and whoever has the whole id does not ask
	} else {
		values.Set("limit", strconv.Itoa(edgeclient.PageSize)) // too short for a cursor
	}
	var page api.StoresPage
	if err := e.Get(ctx, "/stores?"+values.Encode(), &page); err != nil {
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

// Full returns the id of the store that a short id stands for: the one monitored store whose id begins with it. An id that is known as it is,
// that nothing begins with, or about which the edge can't be asked, is returned as it is: commands that go through Temporal must work
// without the edge. More than one candidate is a failure that names them.
func Full(ctx context.Context, e *edgeclient.Client, given string) (string, error) {
	if uuid.Validate(given) == nil {
		return given, nil
	}
	_, unknown := e.Store(ctx, given)
	if !errors.Is(unknown, edgeclient.ErrNotFound) {
		return given, nil
	}
	found, _ := Beginning(ctx, e, given, shown+1) // none, if the edge can't be asked
	switch {
	case len(found) == 0:
		return given, nil
	case len(found) == 1:
		return found[0].ID, nil
	}
	names := make([]string, 0, shown)
	for _, s := range found[:min(len(found), shown)] {
		names = append(names, text.Plain(s.ID))
	}
	if len(found) > shown {
		names = append(names, "and more")
	}
	return "", exit.Fail(exit.Usage, "ambiguous", fmt.Sprintf("several stores begin with %s: %s", given, strings.Join(names, ", ")), "give more of the id")
}

// Unique is how much of an id tells it from its neighbours in the order of all ids, and Least at least.
func Unique(id, before, after string) int {
	n := Least
	for _, other := range []string{before, after} {
		same := 0
		for same < min(len(id), len(other)) && id[same] == other[same] {
			same++
		}
		n = max(n, same+1)
	}
	return min(n, len(id))
}
