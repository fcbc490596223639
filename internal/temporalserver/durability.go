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

// durability makes sure that what a client is told is on the disk before the client is told.
//
// A workflow event is some six commits. With synchronous=full each of them would wait for the disk, and all others would wait behind it.
// Only one commit has to wait: the one after which somebody hears of the event. With synchronous=normal a power loss takes all commits
// after some moment, and leaves a state that the database really had: it is as if the workers had been slower. So the log of the executions
// is synced once before an answer, and one sync serves all answers that wait for it. Only workers hear of the other commits, and what
// workers do is safe to repeat.
//
// The log remains the same file while somebody has the database open. Upkeep does.
type durability struct {
	log      *zap.Logger
	database os.FileInfo
	file     *os.File     // the database's log
	toDisk   func() error // syncFile, except in tests

	mu      sync.Mutex
	changed *sync.Cond
	started uint64 // number of syncs that have begun
	done    uint64 // the newest sync that has ended; it covers those before it
	syncing bool
	failed  error // set once it is not known any more what is on the disk
}

// newDurability is for an open database and its log.
func newDurability(database os.FileInfo, file *os.File, log *zap.Logger) *durability {
	d := &durability{log: log, database: database, file: file}
	d.changed = sync.NewCond(&d.mu)
	d.toDisk = d.syncFile
	return d
}

// sync returns once everything that was committed before the call is on the disk. After one failure it fails for ever, because the kernel
// may have forgotten what it could not write.
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
	// Nobody would find what is written to a file that is no longer at its path.
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

// err is why nothing can be kept any more; nil if all is well.
func (d *durability) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// workersCalls are the calls after which only a worker hears of something.
var workersCalls = map[string]bool{
	"PollWorkflowTaskQueue": true, "PollActivityTaskQueue": true, "PollNexusTaskQueue": true,
	"RespondWorkflowTaskCompleted": true, "RespondWorkflowTaskFailed": true, "RespondQueryTaskCompleted": true,
	"RespondActivityTaskCompleted": true, "RespondActivityTaskFailed": true, "RespondActivityTaskCanceled": true,
	"RecordActivityTaskHeartbeat": true, "RecordWorkerHeartbeat": true, "FetchWorkerConfig": true, "ShutdownWorker": true,
}

// repeatable says whether a call needs no sync. That is so for the calls of workers, and for those that change nothing, known by the first
// word of their names. They may show a moment that a power loss takes, because that moment comes again. All other calls are synced, also
// those of a newer Temporal.
func repeatable(method string) bool {
	for _, prefix := range []string{"Get", "List", "Describe", "Count", "Scan", "Query"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return workersCalls[method]
}

// intercept syncs before an answer of the frontend. An error is an answer too: it may say that a workflow runs already, which another
// request has just started.
func (d *durability) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	service, method, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	if !strings.HasPrefix(service, "temporal.api.") || repeatable(method) {
		return resp, err // other services are called by Temporal itself and by administrators
	}
	if failed := d.sync(); failed != nil {
		return nil, serviceerror.NewUnavailable(failed.Error())
	}
	return resp, err
}
