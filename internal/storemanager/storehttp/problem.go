package storehttp

import (
	"errors"
	"fmt"
	"net/http"

	"storekeeper/internal/backup"
	"storekeeper/internal/storemanager"
)

const (
	problemType = "application/problem+json"

	codeInternal  = "internal"
	maxDetail     = 500
	aboutBlankURI = "about:blank" // RFC 9457: the title says no more than the status does
)

// problem is an error over HTTP (RFC 9457). Code is what a client branches on.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
}

// errNoRoute has a code of its own: "not found" is about stores, and a wrong URL may not look like it.
var errNoRoute = errors.New("the store manager has no such route")

// errNotSupported: there is no Watcher (Options.Watcher).
var errNotSupported = errors.New("this store manager does not tell of changes")

// errNoBackup: there is no Options.Backup.
var errNoBackup = errors.New("this store manager makes no backups")

// errNoMethod: the route is there, for other methods.
var errNoMethod = errors.New("the store manager has no such method at this route")

// problems maps both ways: errors to codes in the server, and codes to errors in the client.
var problems = []struct {
	err    error
	code   string
	status int
}{
	{storemanager.ErrNotFound, "not_found", http.StatusNotFound},
	{storemanager.ErrInvalid, "invalid", http.StatusBadRequest},
	{storemanager.ErrTooEarly, "too_early", http.StatusConflict},
	{storemanager.ErrLossUnacknowledged, "loss_unacknowledged", http.StatusConflict},
	{storemanager.ErrUnauthorized, "unauthorized", http.StatusUnauthorized},
	{storemanager.ErrShutdown, "shutting_down", http.StatusServiceUnavailable},
	{errNoRoute, "no_route", http.StatusNotFound},
	{storemanager.ErrNodeServer, "node_server", http.StatusBadGateway},
	{errNoMethod, "no_method", http.StatusMethodNotAllowed},
	{errNotSupported, "not_supported", http.StatusNotImplemented},
	{errNoBackup, "no_backup", http.StatusNotImplemented},
	{backup.ErrUnderWay, "backup_under_way", http.StatusConflict},
	{backup.ErrNothingOnDisk, "nothing_on_disk", http.StatusConflict},
	{backup.ErrNoRoom, "no_room", http.StatusInsufficientStorage},
}

// problemOf shows the text of errors that are the caller's business, and of no others.
func problemOf(err error) problem {
	for _, p := range problems {
		if !errors.Is(err, p.err) {
			continue
		}
		status := p.status
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		return problem{aboutBlankURI, http.StatusText(status), status, fmt.Sprintf("%.*s", maxDetail, err.Error()), p.code}
	}
	status := http.StatusInternalServerError
	return problem{Type: aboutBlankURI, Title: http.StatusText(status), Status: status, Code: codeInternal}
}

// remoteError is a problem as the client returns it.
type remoteError struct {
	problem
	kind error // of the contract; nil: worth a retry
}

func (e *remoteError) Error() string {
	return fmt.Sprintf("the store manager answered %d: %s", e.Status, e.Detail)
}

func (e *remoteError) Unwrap() error { return e.kind }

// asError is the error that the client returns for the problem.
func (p problem) asError() error {
	p.Detail = fmt.Sprintf("%.*s", maxDetail, p.Detail)
	for _, one := range problems {
		if p.Code == one.code {
			return &remoteError{p, one.err}
		}
	}
	return &remoteError{p, nil}
}
