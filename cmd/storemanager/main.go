// Command storemanager is the multi-store server as a process of its own.
package main

import (
	"context"

	"storekeeper/internal/config"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
)

func main() {
	var restore manager.Restore
	cmd := process.Command(process.Options{
		Use:   "storemanager",
		Short: "Storekeeper's store manager",
		Long:  "Keeps the registry of stores under STORE_DATA_PATH, monitors each at its sync backend, and serves the edge and the workers. Run one.",
		Role:  config.RoleStoreManager,
		Run:   func(ctx context.Context, p *process.Process) error { return manager.Run(ctx, p, restore) },
	})
	restore.Flags(cmd.Flags(), "STORE_DATA_PATH")
	process.Main(cmd)
}
