package temporalserver

import (
	"context"
	"database/sql"

	"storekeeper/internal/backup"
	"storekeeper/internal/backup/sqlitecopy"
)

// Backup returns the server's files as sources of a backup, in the order in which they must be copied: lists may lack for a while what there is, but must
// never show what there never was. It is nil for a server in memory or on PostgreSQL.
func (s *Server) Backup() []backup.Source {
	if s.files == nil {
		return nil
	}
	executions := backup.Source{Name: backup.Temporal, Path: s.files.executions, Copy: s.copier(s.files.executions, "executions", "current_executions")}
	if !s.files.split() {
		return []backup.Source{executions}
	}
	return []backup.Source{
		{Name: backup.TemporalVisibility, Path: s.files.visibility, Copy: s.copier(s.files.visibility, visibilityTable)},
		executions,
	}
}

// copier copies the file at path and counts the rows of the tables in the copy. The server goes on meanwhile.
func (s *Server) copier(path string, tables ...string) func(context.Context, string) (backup.Contents, error) {
	return func(ctx context.Context, to string) (backup.Contents, error) {
		s.upkeep.copying.Add(1)
		defer s.upkeep.copying.Add(-1)
		c := backup.Contents{Rows: map[string]int64{}}
		err := sqlitecopy.Copy(ctx, path, to, func(ctx context.Context, copied *sql.DB) (err error) {
			if c.Identity, c.Server, err = engineOf(ctx, copied); err != nil {
				return err
			}
			for _, table := range tables {
				var n int64
				if err := copied.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil { //nolint:gosec // the names are ours
					return err
				}
				c.Rows[table] = n
			}
			return nil
		})
		return c, explain(err)
	}
}
