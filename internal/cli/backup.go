package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/backup"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIR",
		Short: "Back up the registry, and Temporal's database where it is a file",
		Long: `Back up the registry, and Temporal's database where it is a file, while everything runs.

The server copies its databases, Temporal's first and the registry last, reads the copies back and sends them. Here they are
written into DIR, which must be empty or not there yet, with a manifest.json, and read back again. After an error, or when it
is interrupted, nothing is left. A Temporal on PostgreSQL is not in it: pg_dump both of its databases, before this.

"standalone --restore DIR" and "storemanager --restore DIR" put a backup back. Then no store is stopped before an operator agrees.`,
		Example: "  starter backup /var/backups/storekeeper/2026-11-28",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit.UsageError(fmt.Sprintf("one folder is needed, not %d arguments", len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := a.backup(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a.showBackup(args[0], m)
			return nil
		},
	}
}

// backup keeps a backup of the edge's installation in dir.
func (a *app) backup(ctx context.Context, dir string) (backup.Manifest, error) {
	err := backup.CheckEmpty(dir)
	switch {
	case errors.Is(err, backup.ErrNotEmpty):
		return backup.Manifest{}, exit.Fail(exit.Refused, "not_empty", dir+" can't take the backup: "+err.Error(), "")
	case err != nil:
		return backup.Manifest{}, exit.Fail(exit.Usage, "usage", dir+" can't take the backup: "+err.Error(), "name another folder")
	}
	e, err := a.edge()
	if err != nil {
		return backup.Manifest{}, err
	}
	var done, total atomic.Int64
	stop := a.progress(ctx, "backup", func(context.Context) *contract.Progress {
		if total.Load() == 0 { // the server copies
			return nil
		}
		return &contract.Progress{Phase: "MiB received", Done: int(done.Load() >> 20), Total: int(total.Load() >> 20)}
	})
	defer stop()
	transfer, silence := context.WithCancelCause(ctx)
	defer silence(nil)
	body, err := requestBackup(transfer, e)
	if err == nil {
		defer func() { _ = body.Close() }()
		timer := time.AfterFunc(e.Timeout, func() { silence(errSilent) })
		defer timer.Stop()
		var m backup.Manifest
		m, err = backup.Receive(transfer, body, dir, func(n, of int64) {
			done.Store(n)
			total.Store(of)
			if n < of {
				timer.Reset(e.Timeout)
			} else {
				timer.Stop() // all has come, and is read back
			}
		})
		if err == nil {
			return m, nil
		}
	}
	return backup.Manifest{}, backupFailure(ctx, transfer, e, err)
}

var errSilent = errors.New("the edge is silent")

// requestBackup returns the backup as a tar, which must be closed. The answer begins when the server has made its copies, however long that takes.
func requestBackup(ctx context.Context, e *edgeclient.Client) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL+"/admin/backup", nil)
	if err != nil {
		return nil, exit.Unexpected(err)
	}
	e.Sign(req)
	resp, err := e.Client.Do(req)
	if err != nil {
		return nil, e.Unreachable(fmt.Sprintf("can't be reached (%s)", exit.Innermost(err)))
	}
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), backup.MediaType) {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusConflict {
		if said, ours := edgeclient.ProblemOf(resp); ours {
			return nil, exit.Fail(exit.Refused, "conflict", "the edge refused the backup: "+said, "")
		}
	}
	err = e.Refusal(resp, false)
	if resp.StatusCode == http.StatusOK || errors.Is(err, edgeclient.ErrNotFound) {
		return nil, e.Unreachable("has no /admin/backup")
	}
	if f, ok := errors.AsType[*exit.Failure](err); ok && resp.StatusCode >= http.StatusInternalServerError {
		f.What += "; no backup was made, and nothing is left of one"
	}
	return nil, err
}

// backupFailure says why there is no backup. ctx is the command's, transfer that of the request.
func backupFailure(ctx, transfer context.Context, e *edgeclient.Client, err error) error {
	var known *exit.Failure
	switch {
	case ctx.Err() != nil:
		return exit.Interruption("there is no backup, and nothing is left of it", "run it again")
	case errors.Is(context.Cause(transfer), errSilent):
		return e.Unreachable(fmt.Sprintf("was silent for %s, the --timeout, in the middle of the backup", e.Timeout))
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return exit.Fail(exit.Failed, "failed", "the disk is full: there is no backup, and nothing is left of it", "name a folder on another disk")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return e.Unreachable("did not send all of the backup, of which nothing is left")
	}
	return exit.Fail(exit.Failed, "failed", "there is no backup, and nothing is left of it: "+err.Error(), "")
}

// shownBackup is what --json writes.
type shownBackup struct {
	Dir string `json:"dir"`
	backup.Manifest
}

func (a *app) showBackup(dir string, m backup.Manifest) {
	if a.json {
		a.writeJSON(shownBackup{dir, m})
		return
	}
	a.printf("backup of %s in %s, verified\n", m.CreatedAt.UTC().Format(time.RFC3339), dir)
	for _, f := range m.Files {
		var rows []string
		for _, name := range slices.Sorted(maps.Keys(f.Rows)) {
			rows = append(rows, fmt.Sprintf("%s %d", name, f.Rows[name]))
		}
		a.printf("  %-24s%8.1f MiB  %s\n", f.Name, float64(f.Bytes)/(1<<20), strings.Join(rows, ", "))
	}
	for _, missing := range m.Without {
		a.printf("not in it: %s\n", missing)
	}
	a.printf("to put it back: standalone --restore %s\n", dir)
}
