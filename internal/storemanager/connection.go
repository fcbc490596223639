package storemanager

import "time"

// ConnectionState is the state of a store's live subscription at the sync backend.
type ConnectionState string

const (
	// ConnectionNotConfigured: this process has no sync backend to monitor the store at.
	ConnectionNotConfigured ConnectionState = "not_configured"
	// ConnectionConnecting: the first attempt is under way or waits for its turn, and none has failed yet. Or the store was reset at the
	// backend, and its events are about to be read from the beginning.
	ConnectionConnecting ConnectionState = "connecting"
	// ConnectionConnected: the backend has answered the pull, which alone proves that it serves this store.
	ConnectionConnected ConnectionState = "connected"
	// ConnectionDisconnected: the backend can't be reached, fell silent, or closed the connection. It is tried again, with backoff.
	ConnectionDisconnected ConnectionState = "disconnected"
	// ConnectionError: the backend answers with a refusal, or with what can't be right. It is tried again, with backoff.
	ConnectionError ConnectionState = "error"
	// ConnectionStuck: there are events, and they don't move on. The processor has not taken one for long, or the backend has failed several
	// times in a row at the same one. It is tried again, with backoff.
	ConnectionStuck ConnectionState = "stuck"
	// ConnectionStopped: the store is not monitored.
	ConnectionStopped ConnectionState = "stopped"
)

// ConnectionStates returns those that a monitored store can have: all but ConnectionStopped.
func ConnectionStates() []ConnectionState {
	return []ConnectionState{
		ConnectionNotConfigured, ConnectionConnecting, ConnectionConnected, ConnectionDisconnected, ConnectionError, ConnectionStuck,
	}
}

// MonitorStatus is what is known of a store's live subscription. All but Head and Processed is forgotten with the process.
type MonitorStatus struct {
	// Since is when Store.Connection became what it is.
	Since time.Time `json:"since"`
	// Reason is the newest reason why Store.Connection is what it is, and safe to show; "" where there is nothing to explain. The reason of the
	// change itself stands in History.
	Reason string `json:"reason,omitempty"`
	// SyncURL is where the store's events are to be had, without what may be secret; "" where that is not known.
	SyncURL string `json:"syncUrl,omitempty"`
	// Head is the sequence number of the newest event received. Processed is that of the newest event that the processor took. Both are 0
	// before the first event, and begin anew when the store is reset at the backend.
	Head      int64 `json:"head"`
	Processed int64 `json:"processed"`
	// LastActivityAt is when the backend last sent something about the store; nil: never.
	LastActivityAt *time.Time `json:"lastActivityAt,omitempty"`
	// ConnectedAt is when the present subscription began; nil while there is none.
	ConnectedAt *time.Time `json:"connectedAt,omitempty"`
	// LastConnectedAt and LastDisconnectedAt are when a subscription last began and ended; nil: never.
	LastConnectedAt    *time.Time `json:"lastConnectedAt,omitempty"`
	LastDisconnectedAt *time.Time `json:"lastDisconnectedAt,omitempty"`
	// OfflineMs is how long there was no subscription, in all, in milliseconds. The time without one now counts.
	OfflineMs int64 `json:"offlineMs"`
	// Errors counts failed attempts, subscriptions that broke off, and failures of the processor. ReconnectAttempts counts all attempts to
	// connect but the first, whatever came of them. Reconnects counts all subscriptions but the first. Resets counts how often the store turned
	// out to be reset at the backend.
	Errors            int64 `json:"errors"`
	ReconnectAttempts int64 `json:"reconnectAttempts"`
	Reconnects        int64 `json:"reconnects"`
	Resets            int64 `json:"resets"`
	// LastError is the newest of Errors, safe to show; "" without one.
	LastError string `json:"lastError,omitempty"`
	// NextAttemptAt is when the backend is tried next; nil unless the monitor waits for that.
	NextAttemptAt *time.Time `json:"nextAttemptAt,omitempty"`
	// History has the newest KeptConnectionChanges changes of Store.Connection, oldest first.
	History []ConnectionChange `json:"history"`
}

// KeptConnectionChanges is how many changes of a store's connection are kept.
const KeptConnectionChanges = 20

// ConnectionChange is a change of Store.Connection.
type ConnectionChange struct {
	Connection ConnectionState `json:"connection"`
	At         time.Time       `json:"at"`
	// Reason is safe to show; "" where there is nothing to explain.
	Reason string `json:"reason,omitempty"`
}
