package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/shortid"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// listing is what list is asked for.
type listing struct {
	limit              int
	state, owner, name string
	sort               string
}

func (a *app) listCommand() *cobra.Command {
	var q listing
	var watch bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the monitored stores",
		Long: `List the monitored stores in the order of their ids, as the edge gives them, with the names, owners and ages that the Auth Worker's
list has. If that can't be had, these are empty, and a line says why; --owner and --name then find nothing.

--owner finds a user's stores, also those whose workspaces the Auth Worker's list no longer has: the way to what was deleted by
mistake. It takes the beginning of a user's id, or a part of the name of any other workspace of theirs.

On a terminal that is too narrow, ids are shortened to what is unique (every command takes that), and long texts are cut. Colours
obey NO_COLOR, CLICOLOR_FORCE and TERM=dumb.

With --watch the list is shown anew every 2 s until Ctrl-C, which is exit code 0; without a terminal there is a line for each change.

With --json the array is left open when the edge fails midway, so that nobody takes a part for the whole.`,
		Example: `  starter list
  starter list --state disconnected --watch
  starter list --owner 5e5b9d0a --sort age
  starter list --name family
  starter list --state held --json | jq -r '.[].id'
  temporal workflow list --query "WorkspaceState = 'deletion_pending'"   # the pending deletions, from Temporal`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case q.limit < 0:
				return exit.UsageError("--limit must not be negative")
			case q.state != "" && !slices.Contains(storemanager.ListStates(), q.state):
				return exit.UsageError(fmt.Sprintf("--state %.40q is not accepted: want one of %s", q.state, listStates))
			case sortKeys[q.sort] == nil:
				return exit.UsageError(fmt.Sprintf("--sort %.40q is not accepted: want one of %s", q.sort, strings.Join(sortNames(), ", ")))
			case watch:
				return a.watch(cmd.Context(), func(ctx context.Context, a *app) ([]watched, error) { return a.watchedStores(ctx, q) })
			}
			return a.list(cmd.Context(), q)
		},
	}
	cmd.Flags().IntVar(&q.limit, "limit", 0, "at most so many (0: all)")
	cmd.Flags().StringVar(&q.state, "state", "", "only those in this state: "+listStates)
	cmd.Flags().StringVar(&q.owner, "owner", "", "only those of users whose id begins with this, or else who have a workspace with this in its name")
	cmd.Flags().StringVar(&q.name, "name", "", "only those whose workspaces have this in their names, in capitals or not")
	cmd.Flags().StringVar(&q.sort, "sort", "id", "the order: "+strings.Join(sortNames(), ", "))
	cmd.Flags().BoolVar(&watch, "watch", false, "show changes until Ctrl-C")
	complete(cmd, "state", storemanager.ListStates())
	complete(cmd, "sort", sortNames())
	return cmd
}

// States that a store is listed with.
const (
	stateMonitored = "monitored"
	statePending   = storemanager.StoreDeletionPending
	stateHeld      = storemanager.StoreHeld
	statePinned    = storemanager.StorePinned
	statePaused    = storemanager.StorePaused
)

// listStates are the values of --state: what is exceptional about a store, and the states of its connection.
var listStates = strings.Join(storemanager.ListStates(), ", ")

// states are what is exceptional about a store. It can be several at once.
func states(s api.Store) []string {
	var all []string
	if s.Deletion != nil {
		all = append(all, statePending)
	}
	if s.Hold != nil {
		all = append(all, stateHeld)
	}
	if s.Pinned {
		all = append(all, statePinned)
	}
	if s.Pause != nil {
		all = append(all, statePaused)
	}
	return all
}

func stateOf(s api.Store) string { return cmp.Or(strings.Join(states(s), ","), stateMonitored) }

// sortKeys are the values of --sort. The oldest comes first; who has no name or owner comes last.
var sortKeys = map[string]func(s api.Store) string{
	"id":         func(s api.Store) string { return s.ID },
	"name":       func(s api.Store) string { return orLast(strings.ToLower(nameOf(s))) },
	"owner":      func(s api.Store) string { return orLast(ownerOf(s)) },
	"age":        func(s api.Store) string { return orLast(bornText(s)) },
	"state":      stateOf,
	"connection": func(s api.Store) string { return string(s.Status) },
}

func sortNames() []string { return []string{"id", "name", "owner", "age", "state", "connection"} }

func orLast(text string) string { return cmp.Or(text, "\U0010ffff") }

func nameOf(s api.Store) string {
	if s.Workspace == nil {
		return ""
	}
	return s.Workspace.Name
}

// ownerOf is the one member, or the first of several and how many more there are. A workspace that is no longer listed has the owner of its events.
func ownerOf(s api.Store) string {
	if s.Workspace == nil || len(s.Workspace.UserIDs) == 0 {
		return s.UserID // as its events said
	}
	first, more := s.Workspace.UserIDs[0], len(s.Workspace.UserIDs)-1
	if more == 0 {
		return first
	}
	return first + " +" + strconv.Itoa(more)
}

// born is when the workspace was made, or at least since when its store is monitored; nil when neither is known.
func born(s api.Store) *time.Time {
	if s.Workspace != nil && s.Workspace.CreatedAt != nil {
		return s.Workspace.CreatedAt
	}
	return s.Orchestrator.FirstMonitoredAt
}

func bornText(s api.Store) string {
	if at := born(s); at != nil {
		return at.UTC().Format(time.RFC3339Nano)
	}
	return ""
}

func ageOf(s api.Store) string {
	if at := born(s); at != nil {
		return text.Short(max(0, time.Since(*at)))
	}
	return ""
}

// listedStore is a store as the edge wrote it, and decoded.
type listedStore struct {
	api.Store
	raw json.RawMessage
}

// storesPage is a page of stores, and whether another one follows.
type storesPage struct {
	stores []listedStore
	more   bool
	// note says in one line what the Auth Worker's list lacks; "" when nothing.
	note string
}

func (a *app) list(ctx context.Context, q listing) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	shown := a.newShownStores(q)
	err = storePages(ctx, e, q, func(page storesPage) (bool, error) {
		if q.sort != "id" {
			shown.kept = append(shown.kept, page.stores...)
			shown.note = page.note
			return true, nil
		}
		shown.show(page)
		return q.limit == 0 || shown.count < q.limit, nil
	})
	if err != nil {
		return err
	}
	if q.sort != "id" {
		slices.SortStableFunc(shown.kept, func(x, y listedStore) int { return cmp.Compare(sortKeys[q.sort](x.Store), sortKeys[q.sort](y.Store)) })
		shown.show(storesPage{stores: shown.kept, note: shown.note})
	}
	shown.end()
	return nil
}

// shownStores shows stores as soon as a page of them is known: there may be a million.
type shownStores struct {
	*app
	listing
	table term.Table
	count int
	last  string // the id before
	note  string
	// pending is the first of them whose deletion is pending; "" for none.
	pending string
	kept    []listedStore // until they can be sorted
}

func (a *app) newShownStores(q listing) *shownStores {
	return &shownStores{app: a, listing: q, table: term.Table{Screen: a.screen(), Columns: []term.Column{
		{Title: "ID"},
		{Title: "NAME", Least: 8, Optional: 2},
		{Title: "OWNER", Least: 8, Optional: 1},
		{Title: "AGE", Optional: 4},
		{Title: "STATE"},
		{Title: "CONNECTION"},
		{Title: "WHY", Least: 8, Optional: 3},
	}}}
}

func (s *shownStores) show(page storesPage) {
	if s.limit > 0 && len(page.stores) > s.limit-s.count {
		page.stores, page.more = page.stores[:s.limit-s.count], true
	}
	s.note = page.note
	if s.json {
		for i, store := range page.stores {
			s.printf("%s%s\n", map[bool]string{true: "[", false: ","}[s.count+i == 0], store.raw)
		}
	} else if len(page.stores) > 0 {
		s.print(s.table.Lines(s.rows(page)))
	}
	for _, store := range page.stores {
		if store.Deletion != nil && s.pending == "" && s.owner+s.name+s.state != "" { // somebody looks for it
			s.pending = store.ID
		}
	}
	s.count += len(page.stores)
	if n := len(page.stores); n > 0 {
		s.last = page.stores[n-1].ID
	}
}

func (s *shownStores) end() {
	switch {
	case s.json && s.count == 0:
		s.printf("[]\n")
	case s.json:
		s.printf("]\n")
	case s.count == 0:
		s.printf("no stores\n")
	}
	if s.note != "" && s.count > 0 && !s.json {
		s.tell("%s\n", text.Plain(s.note))
	}
	if s.pending != "" && !s.json {
		s.tell("what must not be deleted is kept by: starter cancel-delete %s --reason R\n", text.Plain(s.pending))
	}
}

// rows are the lines of a page. Ids are shortened only where that is needed, and where all ids are known to which one could be mistaken.
func (s *shownStores) rows(page storesPage) [][]term.Cell {
	rows := make([][]term.Cell, len(page.stores))
	for i, store := range page.stores {
		rows[i] = storeRow(store.Store)
	}
	if s.table.Fits(rows) || s.listing != (listing{limit: s.limit, sort: "id"}) {
		return rows
	}
	for i, store := range page.stores {
		before, after := s.last, ""
		if i > 0 {
			before = page.stores[i-1].ID
		}
		switch {
		case i < len(page.stores)-1:
			after = page.stores[i+1].ID
		case page.more: // the next one is not known
			continue
		}
		rows[i][0].Text = store.ID[:shortid.Unique(store.ID, before, after)]
	}
	return rows
}

func storeRow(s api.Store) []term.Cell {
	return []term.Cell{
		{Text: text.Plain(s.ID)},
		{Text: text.Plain(nameOf(s))},
		{Text: text.Plain(ownerOf(s))},
		{Text: ageOf(s)},
		{Text: stateOf(s), Style: stateStyle(s)},
		{Text: text.Plain(string(s.Status)), Style: connectionStyle(s.Status)},
		{Text: text.Plain(why(s))},
	}
}

func stateStyle(s api.Store) term.Style {
	switch {
	case s.Deletion != nil:
		return term.Red
	case s.Hold != nil || s.Pinned || s.Pause != nil:
		return term.Yellow
	}
	return term.Plain
}

func connectionStyle(c storemanager.ConnectionState) term.Style {
	switch c {
	case storemanager.ConnectionConnected:
		return term.Green
	case storemanager.ConnectionConnecting:
		return term.Yellow
	case storemanager.ConnectionDisconnected, storemanager.ConnectionError, storemanager.ConnectionStuck:
		return term.Red
	case storemanager.ConnectionNotConfigured, storemanager.ConnectionStopped:
	}
	return term.Plain
}

// watchedStores are all of them, for a watch.
func (a *app) watchedStores(ctx context.Context, q listing) ([]watched, error) {
	e, err := a.edge()
	if err != nil {
		return nil, err
	}
	var all []watched
	err = storePages(ctx, e, q, func(page storesPage) (bool, error) {
		for _, s := range page.stores {
			line := strings.Join([]string{s.ID, stateOf(s.Store), string(s.Status), why(s.Store)}, "  ")
			all = append(all, watched{key: s.ID, line: strings.TrimSpace(line), value: s.raw})
		}
		return q.limit == 0 || len(all) < q.limit, nil
	})
	if err == nil {
		err = a.show(func(a *app) error { return a.list(ctx, q) })
	}
	return all, err
}

// storePages calls yield with each page of monitored stores, sorted by id. It stops when yield returns false or an error.
func storePages(ctx context.Context, e *edgeclient.Client, q listing, yield func(storesPage) (more bool, err error)) error {
	values := url.Values{"limit": {strconv.Itoa(edgeclient.PageSize)}, "workspaces": {"true"}}
	if q.limit > 0 && q.sort == "id" {
		values.Set("limit", strconv.Itoa(min(q.limit, edgeclient.PageSize)))
	}
	for name, value := range map[string]string{"state": q.state, "owner": q.owner, "name": q.name} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for next := true; next; {
		var answer struct { // an api.StoresPage whose stores are left as the edge wrote them
			Stores     []json.RawMessage  `json:"stores"`
			NextCursor string             `json:"nextCursor"`
			Workspaces *api.WorkspaceList `json:"workspaces"`
		}
		err := e.Get(ctx, "/stores?"+values.Encode(), &answer)
		switch {
		case errors.Is(err, edgeclient.ErrNotFound):
			return e.Unreachable("has no /stores")
		case err != nil:
			return err
		case answer.Workspaces == nil && (q.owner != "" || q.name != ""): // an edge from before would give all of them
			return exit.Fail(exit.Unreachable, "unreachable", "the edge at "+e.URL+" can't find stores by owner or name", "it is older than this starter: upgrade it")
		}
		cursor := values.Get("cursor")
		next = answer.NextCursor != "" && answer.NextCursor != cursor
		page := storesPage{stores: make([]listedStore, len(answer.Stores)), more: next}
		if answer.Workspaces != nil {
			page.note = answer.Workspaces.Note
		}
		for i, raw := range answer.Stores {
			page.stores[i].raw = raw
			if err := json.Unmarshal(raw, &page.stores[i].Store); err != nil {
				return e.Unreachable("does not answer as Storekeeper does")
			}
		}
		if more, err := yield(page); err != nil || !more {
			return err
		}
		values.Set("cursor", answer.NextCursor)
	}
	return nil
}
