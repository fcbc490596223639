package temporalserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logControl decides what the server may log and what a fatal error means, in each part of its life.
type logControl struct {
	level   zap.AtomicLevel
	serving atomic.Bool
	fatal   atomic.Pointer[error]
}

// newLogControl is for a server that starts. Its services start one after the other and warn that they can't reach the rest, so only errors
// pass.
func newLogControl() *logControl {
	return &logControl{level: zap.NewAtomicLevelAt(zap.ErrorLevel)}
}

func (l *logControl) setServing() {
	l.level.SetLevel(zap.WarnLevel)
	l.serving.Store(true)
}

// setStopping silences the services. Those that still run would report as an error that the others are gone.
func (l *logControl) setStopping() {
	l.serving.Store(false)
	l.level.SetLevel(zap.FatalLevel)
}

// wrap returns the logger for the server.
func (l *logControl) wrap(logger *zap.Logger) log.Logger {
	// Temporal goes on after a fatal error that no core of its logger accepts, so one core always accepts them.
	always := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.FatalLevel)
	return log.NewZapLogger(logger.Named("temporal").WithOptions(
		zap.WithFatalHook(l),
		zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			// A full disk or a lost lock repeats a few messages hundreds of times a second.
			return zapcore.NewTee(zapcore.NewSamplerWithOptions(core, 10*time.Second, 10, 0), always)
		}),
		zap.IncreaseLevel(l.level),
	))
}

// OnWrite implements zapcore.CheckWriteHook. It is called after a fatal error was logged, and does not return. While the server serves, the
// process ends, as Temporal intends. During start and stop only the goroutine ends.
func (l *logControl) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	if l.serving.Load() {
		os.Exit(1)
	}
	err := errors.New(entry.Message)
	for _, field := range fields {
		if cause, ok := field.Interface.(error); ok {
			err = fmt.Errorf("%s: %w", entry.Message, cause)
		}
	}
	l.fatal.CompareAndSwap(nil, &err)
	runtime.Goexit()
}

// fatalError is the first fatal error; nil if there was none.
func (l *logControl) fatalError() error {
	if err := l.fatal.Load(); err != nil {
		return *err
	}
	return nil
}
