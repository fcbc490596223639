// Package crash_test kills an installation at random while the workspaces change, and holds what it did against what is true.
//
// The Auth Worker and the senders (authworker_test.go, sender_test.go) live in the process of the test; all roles are processes of their own
// (roles_test.go, processes_test.go), which are killed with kill -9 or frozen. The registry's database keeps a journal of its
// own changes (journal_test.go). At the end the model (model_test.go) judges what the journal, the senders' answers and the truth say.
//
// `make test` runs the short form, `make test-crash` the long one.
package crash_test

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
)

var (
	long = flag.Bool("long", false, "1,500 events and 60 kills in each layout, and what takes minutes")
	seed = flag.Uint64("seed", rand.Uint64N(1_000_000), "the `number` that all random choices come from; how they meet is up to the machine")
)

// TestMain makes the test binary also the programs that are killed: with envRole set it is one of the commands.
func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		runRole(role)
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}
