package telemetry

import (
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// sampledLines is how many lines of each message are logged within a sampledWindow. Metrics count the rest.
	sampledLines  = 10
	sampledWindow = 10 * time.Second
)

// Sampled returns log for messages that others can cause in any quantity. It leaves out the lines of a message that are too many, and logs
// how many it left out.
func Sampled(log *zap.Logger) *zap.Logger {
	out := &leftOut{log: log, lines: map[string]int{}}
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, sampledWindow, sampledLines, 0, zapcore.SamplerHook(out.note))
	}))
}

// leftOut counts the lines that were left out since it last logged their number. It counts per message; messages are constants, so there
// are few.
type leftOut struct {
	log *zap.Logger

	mu    sync.Mutex
	lines map[string]int
}

func (l *leftOut) note(e zapcore.Entry, decision zapcore.SamplingDecision) {
	if decision&zapcore.LogDropped == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		time.AfterFunc(sampledWindow, l.say)
	}
	l.lines[e.Message]++
}

func (l *leftOut) say() {
	l.mu.Lock()
	lines := maps.Clone(l.lines)
	clear(l.lines)
	l.mu.Unlock()
	l.log.Info("log lines left out", zap.Any("lines", lines), zap.Duration(KeyDurationMs, sampledWindow))
}
