// Package doctor checks an installation: it runs checks side by side, each bounded in time, and has those that more than one process makes of its
// own surroundings. A check changes nothing, and what it says holds no secret.
package doctor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"storekeeper/internal/storemanager"
)

// Check is one check.
type Check struct {
	// Name is Finding.Check.
	Name string
	// Do looks, and obeys the end of ctx.
	Do func(ctx context.Context) Result
}

// Result is what a check came to.
type Result struct {
	Status       storemanager.FindingStatus
	Detail, Todo string
	// More are findings of others that were asked. They follow the check's own.
	More []storemanager.Finding
}

// OK is the result of a check that found nothing wrong.
func OK(detail string) Result { return Result{Status: storemanager.FindingOK, Detail: detail} }

// Failed is the result of a check that found something wrong.
func Failed(detail, todo string) Result {
	return Result{Status: storemanager.FindingFailed, Detail: detail, Todo: todo}
}

// Unknown is the result of a check that can't be made from here.
func Unknown(detail, todo string) Result {
	return Result{Status: storemanager.FindingUnknown, Detail: detail, Todo: todo}
}

// Run makes all checks at the same time, and returns what they found in their order. One that has not ended within the bound has failed.
func Run(ctx context.Context, place string, bound time.Duration, checks []Check) []storemanager.Finding {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	results := make([]Result, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() {
			ended := make(chan Result, 1)
			go func() { ended <- check.Do(ctx) }()
			select {
			case results[i] = <-ended:
			case <-ctx.Done():
				results[i] = Failed(fmt.Sprintf("no answer within %s", bound), "look whether it hangs, or the network loses what is sent")
			}
		})
	}
	wg.Wait()
	var all []storemanager.Finding
	for i, r := range results {
		all = append(all, storemanager.Finding{Place: place, Check: checks[i].Name, Status: r.Status, Detail: r.Detail, Todo: r.Todo})
		all = append(all, r.More...)
	}
	return all
}
