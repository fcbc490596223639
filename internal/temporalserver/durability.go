package temporalserver

import (
	"context"
	"errors"
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
	log    *zap.Logger
	path   string // of the log
	file   *os.File
	toDisk func() error // syncFile, but in tests

	mu      sync.Mutex
	changed *sync.Cond
	started uint64 // syncs that have begun
	done    uint64 // the newest of them that has ended; it covers those before
	syncing bool
	failed  error // it can't be known any more what is on the disk
}

// newDurability is for a database that is open.
func newDurability(database string, log *zap.Logger) (*durability, error) {
	d := &durability{log: log, path: database + "-wal"}
	d.changed = sync.NewCond(&d.mu)
	var err error
	if d.file, err = os.Open(d.path); err != nil {
		return nil, fmt.Errorf("the log of temporal's database: %w", err)
	}
	d.toDisk = d.syncFile
	return d, nil
}

func (d *durability) close() { _ = d.file.Close() }

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
		mine := d.started
		d.mu.Unlock()
		err := d.toDisk()
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
	there, err := os.Stat(d.path)
	if err != nil {
		return err
	}
	mine, err := d.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(there, mine) {
		return errors.New("its log was replaced by another file")
	}
	return d.file.Sync()
}

// err is why nothing can be kept any more; nil if it can.
func (d *durability) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// repeatable are the calls after which nobody hears of more than a worker does, and those that change nothing. That all others
// are synced means that a method of a newer Temporal is.
func repeatable(method string) bool {
	for _, prefix := range []string{"Get", "List", "Describe", "Count", "Scan", "Query"} {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	switch method {
	case "PollWorkflowTaskQueue", "PollActivityTaskQueue", "PollNexusTaskQueue",
		"RespondWorkflowTaskCompleted", "RespondWorkflowTaskFailed", "RespondQueryTaskCompleted",
		"RespondActivityTaskCompleted", "RespondActivityTaskFailed", "RespondActivityTaskCanceled",
		"RecordActivityTaskHeartbeat", "RecordWorkerHeartbeat", "FetchWorkerConfig", "ShutdownWorker":
		return true
	}
	return false
}

// intercept syncs before an answer of the frontend. An error is an answer as well: that a workflow runs already, say, which another request
// has just started.
func (d *durability) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	service, method, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	if !strings.HasPrefix(service, "temporal.api.") || repeatable(method) {
		return resp, err // the others are of Temporal's services among themselves
	}
	if failed := d.sync(); failed != nil {
		return nil, serviceerror.NewUnavailable(failed.Error())
	}
	return resp, err
}
