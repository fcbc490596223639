package nodeserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"storekeeper/internal/backoff"
	"storekeeper/internal/storemanager"
)

const (
	minRepairBackoff = time.Second
	maxRepairBackoff = 15 * time.Minute
)

// failures has the stores that the server did not take when it was last asked to. The zero value is ready to use.
type failures struct {
	mu sync.Mutex
	of map[string]storemanager.Failure
}

// get returns nil for a store that has not failed.
func (f *failures) get(id string) *storemanager.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if failure, ok := f.of[id]; ok {
		return &failure
	}
	return nil
}

func (f *failures) clear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, id)
}

// clearListed forgets the stores that the server has after all.
func (f *failures) clearListed(l *nodeListing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.of, func(id string, _ storemanager.Failure) bool {
		_, ok := l.stores[id]
		return ok
	})
}

// add counts a failed attempt.
func (f *failures) add(id string, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]storemanager.Failure{}
	}
	failure, again := f.of[id]
	if !again {
		failure.Since = now
	}
	failure.NextAttemptAt = storemanager.Precise(now.Add(backoff.Delay(minRepairBackoff, maxRepairBackoff, failure.Attempts)))
	failure.Attempts++
	failure.LastError = shown(err)
	f.of[id] = failure
}

// notDue returns the failure of a store that is not due for its next repair; nil for a store that may be asked for.
func (n *Node) notDue(id string) *storemanager.Failure {
	if f := n.failures.get(id); f != nil && n.registry.Clock().Before(f.NextAttemptAt) {
		return f
	}
	return nil
}

// repair is ensured for what no event asks for. A store that is not due fails with errNotDue at once.
func (n *Node) repair(ctx context.Context, q storemanager.EnsureRequest, res storemanager.EnsureResult) (storemanager.EnsureResult, error) {
	if res.Connection != "" && n.notDue(res.StoreID) != nil {
		return storemanager.EnsureResult{}, errNotDue
	}
	return n.ensured(ctx, q, res)
}

// errNotDue: the server is not asked, see notDue.
var errNotDue = errors.New("the store failed before and is not due yet")

// notRepaired is the result of a repair that failed.
func (n *Node) notRepaired(id string, err error) storemanager.EnsureResult {
	res := storemanager.EnsureResult{StoreID: id, Outcome: storemanager.EnsureFailed, Error: shown(err)}
	if f := n.notDue(id); f != nil {
		res.Error, res.NextAttemptAt = f.LastError, &f.NextAttemptAt
	}
	return res
}

// judge notes what came of an event that the server was told of.
func (n *Node) judge(id, event string, err error) {
	switch {
	case err == nil:
		n.failures.clear(id)
	case event == nodeCreated && !n.brokenOff(err):
		n.failures.add(id, err, n.registry.Clock())
	}
}

// brokenOff says whether err says nothing of the server, because Close made it.
func (n *Node) brokenOff(err error) bool { return err != nil && n.ctx.Err() != nil }

// answeredStatus is the status of an answer of the server that can't be right.
type answeredStatus int

func (s answeredStatus) Error() string {
	return fmt.Sprintf("it answered %d %s", int(s), http.StatusText(int(s)))
}

// shown is what any caller may hear of err: no addresses, and none of the server's own words. It is "" for nil.
func shown(err error) string {
	if err == nil {
		return ""
	}
	if status, ok := errors.AsType[answeredStatus](err); ok {
		return fmt.Sprintf("the node server answered %d %s", int(status), http.StatusText(int(status)))
	}
	unreachable := errors.Is(err, errNodeUnreachable)
	switch {
	case errors.Is(err, errNodeSecret):
		return "the node server refused the webhook secret"
	case errors.Is(err, context.DeadlineExceeded):
		return "the node server has not done it in time"
	case unreachable:
		return "the node server can't be reached"
	default:
		return "it failed, see the log of the store manager"
	}
}
