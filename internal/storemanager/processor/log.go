package processor

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"storekeeper/internal/tracing"
)

const (
	// loggedBatches is how many lines a second a Log writes, of all stores together.
	loggedBatches = 100
	// loggedNames and loggedNameLength, in bytes, bound what a line holds: whoever pushes an event chooses its name.
	loggedNames      = 10
	loggedNameLength = 80
)

// Log is the Processor that takes every batch and writes a line about it. The line has what a person wants to follow, and nothing of the events'
// arguments: storeId, backendId, events (their number), first and last (sequence numbers) and names (up to 10 different ones, cut to 80 bytes).
//
// The log is a sample: it has the first 100 batches of each second, of all stores together, and not the others of that second. Metrics and Store.Monitor
// count all.
type Log struct {
	log *zap.Logger
}

var _ Processor = (*Log)(nil)

// NewLog returns a Log that writes to log at the level Info.
func NewLog(log *zap.Logger) *Log {
	return &Log{log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, loggedBatches, 0)
	}))}
}

// Process implements Processor. It never fails.
func (p *Log) Process(ctx context.Context, b Batch) error {
	line := p.log.Check(zap.InfoLevel, "events received")
	if line == nil {
		return nil
	}
	line.Write(zap.String("storeId", b.StoreID), zap.String("backendId", b.BackendID), zap.Int("events", len(b.Events)),
		zap.Int64("first", b.Events[0].Seq), zap.Int64("last", b.Events[len(b.Events)-1].Seq), zap.Strings("names", b.names()), tracing.Field(ctx))
	return nil
}

// Stop implements Processor.
func (p *Log) Stop(string) {}

// names returns the first different names of events.
func (b Batch) names() []string {
	var names []string
	for _, e := range b.Events {
		name := e.Name[:min(len(e.Name), loggedNameLength)]
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if len(names) == loggedNames {
			break
		}
	}
	return names
}
