package status

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"storekeeper/internal/authclient"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// Workspaces gives the Auth Worker's list with names: an *authclient.Client, or a test's double of one.
type Workspaces interface {
	Directory(ctx context.Context) (*authclient.Directory, error)
}

const (
	// directoryTimeout bounds what a list of stores waits for names.
	directoryTimeout = 5 * time.Second
	// directoryAge is how old names may be. The Auth Worker allows 60 lists a minute, and others need them more.
	directoryAge = 20 * time.Second
	// directoryIdle is how long names are kept that nobody asks for: those of a million workspaces take 150 MB.
	directoryIdle = 5 * time.Minute
)

// directory keeps the newest list with names. All who ask at the same time share it.
type directory struct {
	source Workspaces // nil: there is none
	log    *zap.Logger

	mu    sync.Mutex
	asked time.Time // when the newest attempt began
	list  *authclient.Directory
	note  string // why there is no newer list; "" when there is
	idle  *time.Timer
}

// notConfigured is told where the names of workspaces would be.
const notConfigured = "names and owners are not known: the edge has no AUTH_WORKER_INTERNAL_URL"

// get returns the newest list, nil when there is none, and one line for people if it is not fresh. It waits for directoryTimeout at most.
func (d *directory) get(ctx context.Context) (*authclient.Directory, string) {
	if d.source == nil {
		return nil, notConfigured
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.asked) >= directoryAge {
		d.fetch(ctx)
	}
	if d.idle != nil {
		d.idle.Stop()
	}
	if d.list != nil {
		d.idle = time.AfterFunc(directoryIdle, d.forget)
	}
	return d.list, d.note
}

func (d *directory) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), directoryTimeout) // whoever asks first may hang up
	defer cancel()
	d.asked = time.Now()
	list, err := d.source.Directory(ctx)
	if err == nil {
		d.list, d.note = list, ""
		return
	}
	d.log.Warn("names of workspaces not fetched", zap.Error(err))
	d.note = "names and owners are not known"
	if d.list != nil {
		d.note = "names and owners are those of " + d.list.FetchStartedAt.UTC().Format(time.RFC3339)
	}
	d.note += ": " + sayDirectory(err)
}

// ListNow is from when the Auth Worker's newest list is, which is asked for unless one is at most 20 s old. The error's text is safe to show; it is
// errors.ErrUnsupported when the Auth Worker is not known here.
func (s *Status) ListNow(ctx context.Context) (time.Time, error) {
	if s.directory.source == nil {
		return time.Time{}, errors.ErrUnsupported
	}
	list, note := s.directory.get(ctx)
	if note != "" {
		return time.Time{}, errors.New(note)
	}
	return list.FetchStartedAt, nil
}

func sayDirectory(err error) string {
	switch {
	case errors.Is(err, authclient.ErrUnauthorized):
		return "the Auth Worker refused the token"
	case errors.Is(err, authclient.ErrTooMany), errors.Is(err, authclient.ErrDamaged):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the Auth Worker's list takes longer than " + directoryTimeout.String()
	}
	return "the Auth Worker gives no list"
}

func (d *directory) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.asked = nil, time.Time{}
}

// wanted are the workspaces that a list of stores is narrowed down to.
type wanted struct {
	owner, name string
	owners      []string // what owner means; see the function of this name
}

func (q wanted) all() bool { return q.owner == "" && q.name == "" }

// is says whether the workspace has a member whose id begins with one of owners, and name in its name, in whatever case.
func (q wanted) is(w authclient.Details) bool {
	owned := func(user string) bool {
		return slices.ContainsFunc(q.owners, func(owner string) bool { return strings.HasPrefix(user, owner) })
	}
	return (q.owner == "" || slices.ContainsFunc(w.UserIDs, owned)) &&
		strings.Contains(strings.ToLower(w.Name), strings.ToLower(q.name))
}

// find returns a page of the monitored stores whose workspaces are wanted. It looks at no more than MaxBatch stores, so a page may be short.
func (s *Status) find(ctx context.Context, list *authclient.Directory, q storemanager.ListRequest, want wanted) (storemanager.Page, error) {
	var page storemanager.Page
	looked, last := 0, ""
	for w := range list.From(q.Cursor) {
		if w.ID == q.Cursor || !want.is(w) {
			continue
		}
		if len(page.Stores) == q.Limit || looked == storemanager.MaxBatch {
			page.NextCursor = last
			return page, nil
		}
		store, err := s.manager.Get(ctx, w.ID)
		if err != nil && !errors.Is(err, storemanager.ErrNotFound) {
			return storemanager.Page{}, err
		}
		if err == nil && store.State == storemanager.StateMonitored && q.Matches(store) {
			store.History = nil
			page.Stores = append(page.Stores, store)
		}
		looked, last = looked+1, w.ID
	}
	return page, nil
}

// maxOwners is how many users of one name are looked for at once.
const maxOwners = 20

// owners are the beginnings of the user ids that an operator means by a text: the text itself if the list has such an id, else the members of the
// workspaces with this in their names, in capitals or not. When the list has neither, it is the text, because the user may have no other workspace.
func owners(list *authclient.Directory, text string) []string {
	var named []string
	name := strings.ToLower(text)
	for w := range list.From("") {
		for _, user := range w.UserIDs {
			if strings.HasPrefix(user, text) {
				return []string{text}
			}
		}
		if len(named) < maxOwners && strings.Contains(strings.ToLower(w.Name), name) {
			named = append(named, w.UserIDs...)
		}
	}
	slices.Sort(named)
	if named = slices.Compact(named); len(named) == 0 {
		return []string{text}
	}
	return named[:min(len(named), maxOwners)]
}

// findOwned is find for an owner. It also finds the stores whose workspaces the list no longer has, by what their events said.
func (s *Status) findOwned(ctx context.Context, list *authclient.Directory, q storemanager.ListRequest, want wanted) (storemanager.Page, error) {
	listed, err := s.find(ctx, list, q, want)
	if err != nil || want.name != "" { // nobody knows the names of those
		return listed, err
	}
	pages := []storemanager.Page{listed}
	for _, q.UserID = range want.owners {
		page, err := s.manager.List(ctx, q)
		if err != nil {
			return storemanager.Page{}, err
		}
		page.Stores = slices.DeleteFunc(page.Stores, func(st storemanager.Store) bool {
			_, isListed := list.Details(st.ID) // then the list counts
			return isListed
		})
		pages = append(pages, page)
	}
	return merge(pages, q.Limit), nil
}

// merge makes one page of pages that began at the same id.
func merge(pages []storemanager.Page, limit int) (all storemanager.Page) {
	for _, page := range pages {
		all.Stores = append(all.Stores, page.Stores...)
		if next := page.NextCursor; next != "" && (all.NextCursor == "" || next < all.NextCursor) {
			all.NextCursor = next // behind it, not all are known
		}
	}
	slices.SortFunc(all.Stores, func(a, b storemanager.Store) int { return cmp.Compare(a.ID, b.ID) })
	all.Stores = slices.CompactFunc(all.Stores, func(a, b storemanager.Store) bool { return a.ID == b.ID })
	all.Stores = slices.DeleteFunc(all.Stores, func(st storemanager.Store) bool { return all.NextCursor != "" && st.ID > all.NextCursor })
	if len(all.Stores) > limit {
		all.Stores = all.Stores[:limit]
		all.NextCursor = all.Stores[limit-1].ID
	}
	return all
}

// viewWorkspace is nil when the list lacks the workspace.
func viewWorkspace(list *authclient.Directory, id string) *api.Workspace {
	w, ok := list.Details(id)
	if !ok {
		return nil
	}
	v := &api.Workspace{Name: w.Name, UserIDs: append([]string{}, w.UserIDs...)}
	if !w.CreatedAt.IsZero() {
		v.CreatedAt = &w.CreatedAt
	}
	return v
}
