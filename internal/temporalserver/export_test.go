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

// Version numbers that this server knows.
var (
	ExecutionsVersion = executionsSchema.version
	VisibilityVersion = visibilitySchema.version
)
