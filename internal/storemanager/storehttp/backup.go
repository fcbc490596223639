package storehttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"storekeeper/internal/backup"
)

// sendBackup answers with a backup of the registry. It may take as long as it takes: an answer that the caller no longer waits for is given up.
func (s *server) sendBackup(w http.ResponseWriter, r *http.Request) {
	if s.backup == nil {
		s.fail(w, r, errNoBackup)
		return
	}
	archive, err := s.backup(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	backup.Serve(w, archive)
}

// Backup has the store manager make a backup of its registry, and returns it as a tar, which must be closed. It takes as long as it takes; the end of ctx ends
// it. It fails with backup.ErrUnderWay, backup.ErrNoRoom and backup.ErrNothingOnDisk, as backup.Maker does.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	req, err := c.request(ctx, http.MethodPost, c.base.JoinPath("v1", "backup"), nil)
	if err != nil {
		return nil, err
	}
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask store manager: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
		_ = resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("read answer of store manager: %w", err)
		}
		return nil, failure(resp, answer)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != backup.MediaType {
		_ = resp.Body.Close()
		return nil, errors.New("ask store manager: the answer is no backup")
	}
	return resp.Body, nil
}
