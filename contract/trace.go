package contract

// TraceKey is where the context of a workflow has the trace of the event that it works on. The worker's interceptor puts it there and reads it;
// workflows hand it on with the event.
type TraceKey struct{}
