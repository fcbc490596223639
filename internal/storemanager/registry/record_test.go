package registry

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
)

// The rules above never let a deletion be pending for a protected store; should another one ever do, Stop still refuses.
func TestStopDoesNotRelyOnTheOtherRules(t *testing.T) {
	t.Parallel()
	pending := Record{ID: "workspace-1", EventAt: start, Deletion: storemanager.Deletion{EventAt: start, DeleteAt: start, Owner: "run"}}
	for name, protect := range map[string]func(*Record){
		"held":               func(s *Record) { s.Hold = storemanager.Hold{Reason: "r", Actor: "a", Since: start} },
		"pinned":             func(s *Record) { s.Pinned = true },
		"known to exist now": func(s *Record) { s.EventAt = second(1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := pending
			protect(&s)
			before := s
			res, err := s.stop(storemanager.StopRequest{StoreID: "workspace-1", Owner: "run", AbsentAt: second(100)}, decision{now: second(100)})
			require.NoError(t, err)
			require.Equal(t, storemanager.StopNotPending, res.Outcome)
			require.Equal(t, before, s)
		})
	}
}

// start is the first moment of these tests.
var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// second is the moment that many seconds after start.
func second(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
