package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.temporal.io/sdk/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a logger that writes one line per entry to w, and never two lines at the same time. It replaces every occurrence of a
// secret by "[redacted]". That is the last line of defence, and no licence to log secrets.
//
// level is "debug", "info", "warn" or "error". format is "json", "console", or "auto": console when w is a terminal, and JSON otherwise.
// Any other level or format is an error.
func NewLogger(level, format string, w io.Writer, secrets []string) (*zap.Logger, error) {
	threshold, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}

	keys := zap.NewProductionEncoderConfig()
	keys.TimeKey = "time"
	keys.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	keys.EncodeDuration = zapcore.MillisDurationEncoder

	var encoder zapcore.Encoder
	switch {
	case format == "json", format == "auto" && !isTerminal(w):
		encoder = zapcore.NewJSONEncoder(keys)
	case format == "console", format == "auto":
		keys.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoder = zapcore.NewConsoleEncoder(keys)
	default:
		return nil, fmt.Errorf("unknown log format %q: want json, console or auto", format)
	}

	sink := zapcore.Lock(zapcore.AddSync(redactingWriter{w, newRedactor(secrets)}))
	return zap.New(zapcore.NewCore(encoder, sink, threshold), zap.AddCaller()), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// SDKLogger returns l as the logger of a Temporal client or worker. It writes the SDK's keys in our form: WorkflowID becomes workflowId,
// TaskQueue becomes taskQueue.
func SDKLogger(l *zap.Logger) log.Logger { return (*Sentry)(nil).SDKLogger(l) }

// SDKLogger is the package's SDKLogger, and captures what the SDK tells its log alone: workflow code that panics, or that does not fit its history. It
// does so once for each run of a workflow.
func (s *Sentry) SDKLogger(l *zap.Logger) log.Logger {
	return sdkLogger{l.WithOptions(zap.AddCallerSkip(1)), s}
}

// sdkLogger implements log.WithLogger and log.WithSkipCallers too. Without them the SDK would keep the fields itself, and its wrapper would
// be the caller of each line.
type sdkLogger struct {
	zap    *zap.Logger
	sentry *Sentry
}

func (l sdkLogger) Debug(msg string, keyvals ...any) { l.zap.Debug(msg, fields(keyvals)...) }
func (l sdkLogger) Info(msg string, keyvals ...any)  { l.zap.Info(msg, fields(keyvals)...) }
func (l sdkLogger) Warn(msg string, keyvals ...any) {
	l.sentry.taskFailed(msg, keyvals)
	l.zap.Warn(msg, fields(keyvals)...)
}

func (l sdkLogger) Error(msg string, keyvals ...any) {
	if msg == activityError {
		return
	}
	l.sentry.taskFailed(msg, keyvals)
	l.zap.Error(msg, fields(keyvals)...)
}

// activityError is the SDK's message for each failed attempt of an activity. It is left out, because our interceptor says the same with
// more detail.
const activityError = "Activity error."

// With returns a logger that adds keyvals to every entry.
func (l sdkLogger) With(keyvals ...any) log.Logger {
	return sdkLogger{l.zap.With(fields(keyvals)...), l.sentry}
}

// WithCallerSkip returns a logger that names the caller depth frames further up.
func (l sdkLogger) WithCallerSkip(depth int) log.Logger {
	return sdkLogger{l.zap.WithOptions(zap.AddCallerSkip(depth)), l.sentry}
}

func fields(keyvals []any) []zap.Field {
	out := make([]zap.Field, 0, (len(keyvals)+1)/2)
	for i := 0; i < len(keyvals); i += 2 {
		if i+1 == len(keyvals) {
			return append(out, zap.Any("keyWithoutValue", keyvals[i]))
		}
		out = append(out, zap.Any(fieldKey(fmt.Sprint(keyvals[i])), keyvals[i+1]))
	}
	return out
}

// fieldKey writes a key of the SDK (WorkflowID, Error) in our form (workflowId, error). Our own keys stay as they are.
func fieldKey(key string) string {
	if prefix, ok := strings.CutSuffix(key, "ID"); ok {
		key = prefix + "Id"
	}
	first, size := utf8.DecodeRuneInString(key)
	return string(unicode.ToLower(first)) + key[size:]
}
