package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/contract"
)

// mix is what happens at random: senders that change their workspaces, and somebody who kills.
type mix struct {
	auth   *authWorker
	post   *post
	events int
	kills  int
	seed   uint64
}

const senders = 20

const (
	minLife, maxLife = time.Second, 6 * time.Second // of a process, once it is back
	maxDeath         = 2 * time.Second
	// maxStart is how long is waited for a process that starts, where it is waited for at all.
	maxStart = 30 * time.Second
)

// run lets all of it happen and returns when the last event has been told of and the last process is back. However slow the machine is,
// each life of the processes has its share of the events.
func (m mix) run(ctx context.Context, in *installation) {
	turns := make(chan struct{}, m.events)
	var wg sync.WaitGroup
	for n := range senders {
		s := &sender{mix: m, rng: rand.New(rand.NewPCG(m.seed, uint64(n))), turns: turns, withDelivery: n%2 == 0, creations: map[string]*event{}}
		wg.Go(func() { s.run(ctx) })
	}
	rng := rand.New(rand.NewPCG(m.seed, senders))
	given := 0
	for n := range m.kills {
		for ; given < m.events*(n+1)/m.kills; given++ {
			turns <- struct{}{}
		}
		pause(ctx, between(rng, minLife, maxLife))
		m.kill(ctx, in, rng)
	}
	close(turns)
	wg.Wait()
	m.post.under.Wait()
}

// kill kills one process, or all, and starts it again. Every fifth time it is only frozen for a moment.
func (m mix) kill(ctx context.Context, in *installation, rng *rand.Rand) {
	victims := in.layout.roles
	if rng.IntN(4) > 0 {
		victims = []string{victims[rng.IntN(len(victims))]}
	}
	frozen := rng.IntN(5) == 0
	for _, name := range victims {
		if frozen {
			in.processes[name].freeze()
		} else {
			in.processes[name].kill()
		}
	}
	pause(ctx, between(rng, 0, maxDeath))
	for _, name := range victims {
		if frozen {
			in.processes[name].thaw()
		} else if err := in.processes[name].start(""); err != nil {
			in.t.Error(err)
		}
	}
	if rng.IntN(3) == 0 {
		return // the next kill may hit it while it starts
	}
	for deadline := time.Now().Add(maxStart); !in.ready() && time.Now().Before(deadline); {
		pause(ctx, 50*time.Millisecond)
	}
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// sender is one user's side of the Auth Worker: it changes its own workspaces, and tells of it as the Auth Worker does.
type sender struct {
	mix
	rng          *rand.Rand
	turns        <-chan struct{} // one for each event
	withDelivery bool

	listed, gone []string
	creations    map[string]*event // the newest of each workspace
}

func (s *sender) run(ctx context.Context) {
	for range s.turns {
		s.act(ctx)
		pause(ctx, between(s.rng, 0, maxLife))
	}
}

func (s *sender) act(ctx context.Context) {
	switch dice := s.rng.IntN(100); {
	case dice < 24 && len(s.listed) > 0:
		id := take(s.rng, &s.listed)
		s.delete(ctx, id, randomFate(s.rng))
		s.gone = append(s.gone, id)
	case dice < 32 && len(s.listed) > 0: // a user is deleted: nobody tells
		id := take(s.rng, &s.listed)
		s.auth.remove(id)
		s.gone = append(s.gone, id)
	case dice < 42 && len(s.gone) > 0: // an administrator adds the id again: nobody tells
		id := take(s.rng, &s.gone)
		s.auth.add(id, 1)
		s.listed = append(s.listed, id)
	case dice < 48 && len(s.gone) > 0: // another sender of this contract would tell of that
		id := take(s.rng, &s.gone)
		s.create(ctx, id, randomFate(s.rng))
		s.listed = append(s.listed, id)
	case dice < 58 && len(s.gone) > 0: // what is long over is told again
		if e := s.creations[s.gone[s.rng.IntN(len(s.gone))]]; e != nil {
			s.post.under.Go(func() { s.post.attempt(ctx, e) })
		}
	case dice < 64 && len(s.listed) > 0:
		id := take(s.rng, &s.listed)
		s.flicker(ctx, id)
		s.gone = append(s.gone, id)
	default:
		id := uuid.NewString()
		s.create(ctx, id, randomFate(s.rng))
		s.listed = append(s.listed, id)
	}
}

func take(rng *rand.Rand, ids *[]string) string {
	n := rng.IntN(len(*ids))
	id := (*ids)[n]
	*ids = append((*ids)[:n], (*ids)[n+1:]...)
	return id
}

func (s *sender) create(ctx context.Context, id string, f fate) {
	e := newEvent(s.auth, contract.WorkspaceCreated, id, s.auth.add(id, 1+s.rng.IntN(2)), s.withDelivery)
	s.creations[id] = e
	s.post.tell(ctx, e, f, nil)
}

func (s *sender) delete(ctx context.Context, id string, f fate) <-chan struct{} {
	delivered := make(chan struct{})
	s.post.tell(ctx, newEvent(s.auth, contract.WorkspaceDeleted, id, s.auth.remove(id), s.withDelivery), f, delivered)
	return delivered
}

// flicker deletes a workspace, lists it again without a word for long enough that some reconcile runs see it, and deletes it again
// before the first grace period is over.
func (s *sender) flicker(ctx context.Context, id string) {
	<-s.delete(ctx, id, fate{})
	s.auth.add(id, 1)
	pause(ctx, gracePeriod*2/3)
	s.delete(ctx, id, fate{})
}

// populate lists workspaces that stay: whatever lists remove, it is a small part of all.
func (a *authWorker) populate(n int) {
	for i := range n {
		a.add(fmt.Sprintf("permanent-%04d", i), 1)
	}
}

func requireNoOwnEnds(t *testing.T, in *installation) {
	t.Helper()
	require.Empty(t, in.ownEnds(), "no process ends unless it is told to")
}
