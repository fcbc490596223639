// Command storemanager is the multi-store server as a process of its own.
package main

import (
	"storekeeper/internal/config"
	"storekeeper/internal/manager"
	"storekeeper/internal/process"
)

func main() {
	process.Main(process.Command(process.Options{
		Use:   "storemanager",
		Short: "Storekeeper's store manager",
		Long:  "Keeps the registry of stores under STORE_DATA_PATH, monitors each at its sync backend, and serves the edge and the workers. Run one.",
		Role:  config.RoleStoreManager,
		Run:   manager.Run,
	}))
}
