package crash_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

// What random kills can't hit: between two steps that lie too close to each other.

// A creation is cut off after the store is there and before Temporal knows, so that it was never answered. The sender's next attempt comes
// after a deletion that was.
func TestADeletionIsNotDroppedByTheRepeatOfACreationThatWasCutOff(t *testing.T) {
	t.Parallel()
	s := setUp(t, apart, 3*time.Second, "WEBHOOK_WAIT=20s", neverReconcile)
	edge, worker, temporal := s.processes[roleEdge], s.processes[roleWorker], s.processes[roleTemporal]
	worker.kill()
	require.NoError(t, worker.start(mineBetween))
	id := uuid.NewString()
	creation := newEvent(s.auth, contract.WorkspaceCreated, id, s.auth.add(id, 1), true)
	s.post.tell(t.Context(), creation, fate{}, nil)
	s.eventually("the worker dies with the store ensured", worker.dead)
	edge.kill()
	temporal.kill()
	s.post.under.Wait()
	require.False(t, creation.answered())

	s.start(roleTemporal)
	s.start(roleWorker)
	s.start(roleEdge)
	s.awaitReady()
	deletion := newEvent(s.auth, contract.WorkspaceDeleted, id, s.auth.remove(id), true)
	s.post.tell(t.Context(), deletion, fate{}, nil)
	s.post.under.Wait()
	require.True(t, deletion.answered())
	require.True(t, s.post.attempt(t.Context(), creation))
	s.patient = time.Minute
	v := s.end()
	requireNone(t, v)
	require.Equal(t, 1, v.stops)
}

const neverReconcile = "WORKSPACE_RECONCILE_INTERVAL_MS=86400000"

// away is how long a process is away: longer than an answer may be old.
const away = maxAnswerAge + 15*time.Second

// All workers die when the Auth Worker has said that a workspace is gone, and are back long after it was listed again.
func TestAStoreIsNotStoppedOnAnAnswerFromBeforeTheWorkersDied(t *testing.T) {
	t.Parallel()
	requireLong(t)
	s := setUp(t, apart, 3*time.Second)
	worker := s.processes[roleWorker]
	worker.kill()
	require.NoError(t, worker.start(mineAfter))
	id := s.createAndDelete()
	s.eventually("the worker dies when Temporal knows that the workspace is gone", worker.dead)
	s.auth.add(id, 1)
	pause(t.Context(), away)
	s.start(roleWorker)
	s.awaitReady()
	requireNone(t, s.end())
}

// A re-check that shows the workspace hangs; meanwhile it is deleted once more, and its sender is answered.
func TestADeletionIsNotDroppedByAnAnswerFromBeforeIt(t *testing.T) {
	t.Parallel()
	s := setUp(t, together, 3*time.Second, neverReconcile)
	id := s.createAndDelete()
	due := s.promised()
	s.auth.add(id, 1)
	asked, answer := make(chan struct{}), make(chan struct{})
	s.auth.onAnswer(func(l list) {
		if l.asked.After(due) {
			s.auth.onAnswer(nil)
			close(asked)
			<-answer
		}
	})
	<-asked
	deletion := newEvent(s.auth, contract.WorkspaceDeleted, id, s.auth.remove(id), false)
	s.post.tell(t.Context(), deletion, fate{}, nil)
	s.post.under.Wait()
	close(answer)
	require.True(t, deletion.answered())
	s.patient = time.Minute
	v := s.end()
	requireNone(t, v)
	require.Equal(t, 1, v.stops)
}

// A store manager is frozen when a request to stop a store is on its way, and goes on with it long after the workspace was listed again.
func TestAStoreIsNotStoppedByARequestThatIsLongOver(t *testing.T) {
	t.Parallel()
	requireLong(t)
	s := setUp(t, apart, 3*time.Second, neverReconcile)
	manager := s.processes[roleManager]
	frozen := make(chan string, 1)
	id := s.createAndDelete()
	due := s.promised()
	s.auth.onAnswer(func(l list) {
		if l.asked.After(due) {
			s.auth.onAnswer(nil)
			manager.freeze()
			frozen <- id
		}
	})
	s.auth.add(<-frozen, 1)
	pause(t.Context(), away)
	manager.thaw()
	s.patient = 6 * time.Minute // the lifecycle has given the stop up, and asks again after a pause of some minutes
	requireNone(t, s.end())
}

// createAndDelete makes a workspace and, once its store is monitored, deletes it. The sender has been answered when it returns.
func (s *scene) createAndDelete() string {
	s.t.Helper()
	id := uuid.NewString()
	s.post.tell(s.t.Context(), newEvent(s.auth, contract.WorkspaceCreated, id, s.auth.add(id, 1), false), fate{}, nil)
	s.post.under.Wait()
	s.eventually("monitored", func() bool { all, err := s.monitored(); _, is := all[id]; return err == nil && is })
	deletion := newEvent(s.auth, contract.WorkspaceDeleted, id, s.auth.remove(id), false)
	s.post.tell(s.t.Context(), deletion, fate{}, nil)
	s.post.under.Wait()
	require.True(s.t, deletion.answered())
	return id
}

// promised is when the store is stopped at the earliest, as the sender of the newest event was told.
func (s *scene) promised() time.Time {
	all := s.post.history()
	answers := all[len(all)-1].answers
	return answers[len(answers)-1].deleteAt
}

func requireLong(t *testing.T) {
	t.Helper()
	if !*long {
		t.Skip("it waits for longer than an answer may be old: make test-crash")
	}
}
