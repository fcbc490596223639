package sqlite_test

import (
	"testing"

	"storekeeper/internal/storemanager/registry/registrytest"
	"storekeeper/internal/storemanager/storetest"
)

func TestADatabaseIsADriver(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, storetest.TryOpen)
}
