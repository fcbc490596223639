package sqlite_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFileEnv); path != "" {
		writeUntilKilled(path)
		return
	}
	if path := os.Getenv(upgradeFileEnv); path != "" {
		upgradeUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m)
}
