// Package e2e_test drives a whole installation through its real doors.
package e2e_test

import (
	"os"
	"testing"

	"storekeeper/contract"
)

var reconcileInput = contract.ReconcileInput{Trigger: contract.TriggerManual, Confirm: true}

// TestMain makes the test binary also the programs that the crash tests kill: with one of these variables set it is
// cmd/standalone, cmd/worker, or one of the processes whose secrets are rotated.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("STOREKEEPER_TEST_RUN_STANDALONE") != "":
		runStandalone()
	case os.Getenv("STOREKEEPER_TEST_RUN_WORKER") != "":
		runWorker()
	case os.Getenv(envRotationRole) != "":
		runRotationRole(os.Getenv(envRotationRole))
	default:
		os.Exit(m.Run())
	}
}
