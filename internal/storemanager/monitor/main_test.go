package monitor

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(backendEnv) != "" {
		serveBackend()
		return
	}
	goleak.VerifyTestMain(m)
}
