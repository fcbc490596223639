// Package registrytest is the conformance suite of a registry's Driver. It tests what a Registry promises with the driver below it, in process and over
// HTTP, and what the driver's own contract says. It asks a driver by its methods alone, and by no SQL.
package registrytest

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager/storehttp/storehttptest"
	"storekeeper/internal/storemanager/storetest"
)

// TryOpener opens what is at Settings.Path, which is a name of the test's own, and makes it if there is none. The suite uses the registry, the memory and the
// driver of what it returns, and not the handles of SQLite.
type TryOpener func(ctx context.Context, o storetest.Settings) (*storetest.Database, error)

// Run runs the suite: each test in process, and most over HTTP as well.
func Run(t *testing.T, open TryOpener) {
	t.Helper()
	on := suite{open}
	tests := reflect.ValueOf(on)
	for i := range tests.NumMethod() {
		if name, ok := strings.CutPrefix(tests.Type().Method(i).Name, "Test"); ok {
			test, ok := reflect.TypeAssert[func(*testing.T)](tests.Method(i))
			require.True(t, ok, "%s is no test", name)
			t.Run(name, test)
		}
	}
}

// tombstoneRetention is that of a registry whose options name none.
const tombstoneRetention = 30 * 24 * time.Hour

// suite has a method for each test.
type suite struct{ tryOpen TryOpener }

func (on suite) open(t *testing.T, o storetest.Settings) *storetest.Database {
	t.Helper()
	s, err := on.tryOpen(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (on suite) setup(t *testing.T) *storetest.Bundle {
	t.Helper()
	b := &storetest.Bundle{Clock: storetest.NewClock(), Path: filepath.Join(t.TempDir(), "data", "registry.db")}
	b.Registry = on.open(t, storetest.Settings{Path: b.Path, Now: b.Clock.Now})
	b.Manager, b.Memory = b.Registry, b.Registry
	return b
}

// each runs a test against both forms of the Manager.
func (on suite) each(t *testing.T, test func(t *testing.T, b *storetest.Bundle)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		test(t, on.setup(t))
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		b := on.setup(t)
		client := storehttptest.ServeDatabase(t, b.Registry)
		b.Manager, b.Memory = client, client
		test(t, b)
	})
}
