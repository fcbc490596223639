// Package e2e_test drives a whole installation through its real doors.
package e2e_test

import (
	"os"
	"testing"

	"storekeeper/workflows"
)

var reconcileInput = workflows.ReconcileInput{Trigger: workflows.TriggerManual, Confirm: true}

// TestMain makes the test binary also the program that the crash tests kill: with this variable set it is cmd/standalone.
func TestMain(m *testing.M) {
	if os.Getenv("STOREKEEPER_TEST_RUN_STANDALONE") != "" {
		runStandalone()
		return
	}
	os.Exit(m.Run())
}
