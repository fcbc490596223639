package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/getsentry/sentry-go"
)

// The messages by which the SDK tells of a workflow task that has failed: code that panicked, or that does not fit the history. It tells nobody else: an
// interceptor sees neither a history that does not fit nor a panic of another coroutine, and what it could recover from includes what the SDK ends
// workflows with. A test holds a worker to them.
const (
	messageWorkflowPanic = "Workflow panic"
	messageTaskFailed    = "Failed to process workflow task."
)

const (
	// maxFailedTasks is how many runs are remembered. When there are more, all are forgotten, and may be told of once more.
	maxFailedTasks = 10_000
	maxSentStack   = 8 << 10 // bytes
	// lifecyclePrefix is what the id of a workflow begins with that is for one store. The rest is the store's id.
	lifecyclePrefix = "workspace/"
)

// failedTasks remembers runs whose failing was told: the server has the task tried again and again until the code is mended.
type failedTasks struct {
	mu   sync.Mutex
	told map[string]bool // by run id
}

// first says whether the run was not told of before.
func (f *failedTasks) first(runID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.told[runID] {
		return false
	}
	if f.told == nil || len(f.told) >= maxFailedTasks {
		f.told = map[string]bool{}
	}
	f.told[runID] = true
	return true
}

// taskFailed captures what the SDK says in an entry of its log, if that is one about a failed workflow task: once for each run.
func (s *Sentry) taskFailed(message string, keyvals []any) {
	if s == nil || message != messageWorkflowPanic && message != messageTaskFailed {
		return
	}
	said := map[string]any{}
	for i := 0; i+1 < len(keyvals); i += 2 {
		said[fieldKey(fmt.Sprint(keyvals[i]))] = keyvals[i+1]
	}
	text := func(key string) string {
		if v, ok := said[key]; ok {
			return fmt.Sprint(v)
		}
		return ""
	}
	err, ok := said[KeyError].(error)
	if !ok {
		err = errors.New(text(KeyError))
	}
	if !s.tasks.first(text(KeyRunID)) {
		return
	}
	stack := text("stackTrace")
	op := Operation{Name: text("workflowType"), Phase: "workflow_task", Kind: taskKind(err, stack), Outcome: OutcomeFailed}
	if id, ok := strings.CutPrefix(text(KeyWorkflowID), lifecyclePrefix); ok {
		op.StoreID = id
	}
	s.capture(err, op, map[string]sentry.Context{"workflow": {
		KeyWorkflowID: text(KeyWorkflowID), KeyRunID: text(KeyRunID), KeyAttempt: said[KeyAttempt], "stack": stack[:min(len(stack), maxSentStack)],
	}})
}

// taskKind goes by the codes that the SDK's rules have (TMPRL1100 and so on).
func taskKind(err error, stack string) string {
	switch text := err.Error(); {
	case strings.Contains(text, "[TMPRL1100]"):
		return "nondeterminism"
	case strings.Contains(text, "[TMPRL1101]"):
		return "deadlock"
	case stack != "":
		return "panic in " + siteOf(stack)
	}
	return "task"
}
