// Package e2e_test drives a whole installation through its real doors.
package e2e_test

import (
	"os"
	"testing"

	"storekeeper/contract"
	"storekeeper/internal/config"
)

var reconcileInput = contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true}

// TestMain makes the test binary also the programs that the crash tests kill: with one of these variables set it is
// cmd/standalone, cmd/worker, one of the processes whose secrets are rotated, or another one.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("STOREKEEPER_TEST_RUN_STANDALONE") != "":
		runStandalone()
	case os.Getenv("STOREKEEPER_TEST_RUN_WORKER") != "":
		runWorker()
	case os.Getenv(envRotationRole) != "":
		runRotationRole(os.Getenv(envRotationRole))
	case os.Getenv("STOREKEEPER_TEST_RUN_ROLE") != "":
		runRole(config.Role(os.Getenv("STOREKEEPER_TEST_RUN_ROLE")))
	default:
		os.Exit(m.Run())
	}
}
