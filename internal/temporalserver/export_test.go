package temporalserver

import (
	"go.uber.org/zap"
)

// InstallSchemas makes Temporal's two schemas, of earlier versions, in databases that are there.
func InstallSchemas(url, executionsVersion, visibilityVersion string) error {
	executions, visibility, err := databases(url)
	if err != nil {
		return err
	}
	executions.version, visibility.version = executionsVersion, visibilityVersion
	if err := executions.bringUpToDate("", zap.NewNop()); err != nil {
		return err
	}
	return visibility.bringUpToDate("", zap.NewNop())
}

// FailSyncs has each sync of the log fail from now on.
func (s *Server) FailSyncs(err error) {
	d := s.upkeep.durability
	d.mu.Lock()
	defer d.mu.Unlock()
	d.toDisk = func() error { return err }
}

// Synchronous is what each file is opened with.
func (s *Server) Synchronous() (executions, visibility string) {
	return s.files.stores.executions.ConnectAttributes["synchronous"], s.files.stores.visibility.ConnectAttributes["synchronous"]
}

// Version numbers that this server knows.
var (
	ExecutionsVersion = executionsSchema.version
	VisibilityVersion = visibilitySchema.version
)
