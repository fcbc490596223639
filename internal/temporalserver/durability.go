package temporalserver

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"go.temporal.io/api/serviceerror"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// durability has on the disk what clients are told, before they are told it.
//
// A workflow event is some six commits, and each would wait for the disk (synchronous=full) while all others wait for it. Only one of them has
// to: that after which somebody hears of it. With synchronous=normal a power loss takes the newest commits together, from some moment on, and
// what is left is a state that there was: it is as if the workers had been slower. So the log of the executions is synced once before an
// answer, and once for all answers that wait meanwhile. Of the others only workers hear, and what they do is safe to repeat.
//
// The log stays the same file while somebody has the database open: here upkeep does.
type durability struct {
	log      *zap.Logger
	database os.FileInfo
	file     *os.File     // its log, by its path
	toDisk   func() error // syncFile, but in tests

	mu      sync.Mutex
	changed *sync.Cond
	started uint64 // syncs that have begun
	done    uint64 // the newest of them that has ended; it covers those before
	syncing bool
	failed  error // it can't be known any more what is on the disk
}

// newDurability is for a database that is open, and its log.
func newDurability(database os.FileInfo, file *os.File, log *zap.Logger) *durability {
	d := &durability{log: log, database: database, file: file}
	d.changed = sync.NewCond(&d.mu)
	d.toDisk = d.syncFile
	return d
}

// sync returns once all that was committed before the call is on the disk. After a failure it fails for ever: the kernel may have forgotten
// what it could not write.
func (d *durability) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for want := d.started + 1; d.done < want && d.failed == nil; {
		if d.syncing {
			d.changed.Wait()
			continue
		}
		d.started++
		d.syncing = true
		mine, toDisk := d.started, d.toDisk
		d.mu.Unlock()
		err := toDisk()
		d.mu.Lock()
		d.syncing = false
		if err == nil {
			d.done = mine
		} else if d.failed == nil {
			d.failed = fmt.Errorf("temporal's database can keep nothing until the process is restarted: %w", err)
			d.log.Error("temporal's database could not be written to the disk, restart the process", zap.Error(err))
		}
		d.changed.Broadcast()
	}
	return d.failed
}

func (d *durability) syncFile() error {
	path := d.file.Name()
	mine, err := d.file.Stat()
	if err != nil {
		return err
	}
	// What is written to a file that is not at its path any more nobody will find.
	for path, open := range map[string]os.FileInfo{path: mine, strings.TrimSuffix(path, "-wal"): d.database} {
		there, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !os.SameFile(there, open) {
			return fmt.Errorf("%s was replaced by another file", path)
		}
	}
	return d.file.Sync()
}

// err is why nothing can be kept any more; nil if it can.
func (d *durability) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// workersCalls are those after which nobody hears of more than a worker does.
var workersCalls = map[string]bool{
	"PollWorkflowTaskQueue": true, "PollActivityTaskQueue": true, "PollNexusTaskQueue": true,
	"RespondWorkflowTaskCompleted": true, "RespondWorkflowTaskFailed": true, "RespondQueryTaskCompleted": true,
	"RespondActivityTaskCompleted": true, "RespondActivityTaskFailed": true, "RespondActivityTaskCanceled": true,
	"RecordActivityTaskHeartbeat": true, "RecordWorkerHeartbeat": true, "FetchWorkerConfig": true, "ShutdownWorker": true,
}

// repeatable are the calls of workers, and those that change nothing, by the first word of their names: what they show may be of a moment that
// a power loss takes, and comes again. All others are synced, also those of a newer Temporal.
func repeatable(method string) bool {
	for _, prefix := range []string{"Get", "List", "Describe", "Count", "Scan", "Query"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return workersCalls[method]
}

// intercept syncs before an answer of the frontend. An error is an answer as well: that a workflow runs already, say, which another request
// has just started.
func (d *durability) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	service, method, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	if !strings.HasPrefix(service, "temporal.api.") || repeatable(method) {
		return resp, err // the others are of Temporal's services and administrators
	}
	if failed := d.sync(); failed != nil {
		return nil, serviceerror.NewUnavailable(failed.Error())
	}
	return resp, err
}
