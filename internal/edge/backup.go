package edge

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"storekeeper/internal/backup"
	"storekeeper/internal/edge/problem"
	"storekeeper/internal/httpserver"
)

// sendBackup answers with a backup of the databases, as a tar. It takes as long as the copies take: only once they are made and checked does the answer begin.
func (s *Server) sendBackup(w http.ResponseWriter, r *http.Request) {
	if s.backup == nil {
		problem.Write(w, problem.KindConflict, "this edge makes no backups")
		return
	}
	archive, err := s.backup(r.Context())
	switch {
	case err == nil:
		s.log.Info("backup made", httpserver.LogRequestID(w))
		backup.Serve(w, archive)
	case errors.Is(err, backup.ErrUnderWay):
		problem.Write(w, problem.KindConflict, backup.ErrUnderWay.Error())
	case errors.Is(err, backup.ErrNothingOnDisk):
		problem.Write(w, problem.KindConflict, backup.ErrNothingOnDisk.Error())
	case errors.Is(err, backup.ErrNoRoom):
		s.log.Error("no room for a backup", httpserver.LogRequestID(w), zap.Error(err))
		problem.Write(w, problem.KindNoRoom, backup.ErrNoRoom.Error())
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		s.log.Info("backup given up by whoever asked for it", httpserver.LogRequestID(w))
	default:
		s.log.Error("backup failed", httpserver.LogRequestID(w), zap.Error(err))
		problem.WriteUnavailable(w, "The backup failed: the log has the reason under the request's id")
	}
}
