package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/workflows"
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

// Kills come so often that a process is often killed before it is back at work.
const (
	minLife, maxLife = time.Second, 6 * time.Second
	maxDeath         = 2 * time.Second
)

// run lets all of it happen and returns when the last event has been told of and the last process is back.
func (m mix) run(ctx context.Context, in *installation) {
	left := &atomic.Int64{}
	left.Store(int64(m.events))
	// The events last as long as the kills do.
	lasts := time.Duration(m.kills) * (minLife + maxLife + maxDeath) / 2
	var wg sync.WaitGroup
	for n := range senders {
		s := &sender{
			mix: m, rng: rand.New(rand.NewPCG(m.seed, uint64(n))), left: left,
			pause: 2 * lasts * senders / time.Duration(m.events), withDelivery: n%2 == 0,
		}
		wg.Go(func() { s.run(ctx) })
	}
	wg.Go(func() { m.killAtRandom(ctx, in) })
	wg.Wait()
	m.post.under.Wait()
}

// killAtRandom kills one process, or all, again and again. Every fifth is only frozen for a moment.
func (m mix) killAtRandom(ctx context.Context, in *installation) {
	rng := rand.New(rand.NewPCG(m.seed, senders))
	between := func(least, most time.Duration) { pause(ctx, least+time.Duration(rng.Int64N(int64(most-least)))) }
	for range m.kills {
		between(minLife, maxLife)
		victims := in.layout.roles
		if rng.IntN(4) > 0 {
			victims = []string{victims[rng.IntN(len(victims))]}
		}
		frozen := rng.IntN(5) == 0
		for _, name := range victims {
			if frozen {
				in.processes[name].signal(syscall.SIGSTOP, false)
			} else {
				in.processes[name].kill()
			}
		}
		between(0, maxDeath)
		for _, name := range victims {
			if frozen {
				in.processes[name].signal(syscall.SIGCONT, false)
			} else if err := in.processes[name].start(""); err != nil {
				in.t.Error(err)
			}
		}
	}
}

// sender is one user's side of the Auth Worker: it changes its own workspaces, and tells of it as the Auth Worker does.
type sender struct {
	mix
	rng          *rand.Rand
	left         *atomic.Int64
	pause        time.Duration // between two events, at the most
	withDelivery bool

	listed, gone []string
	creations    map[string]*event // the newest of each workspace
}

func (s *sender) run(ctx context.Context) {
	s.creations = map[string]*event{}
	for ctx.Err() == nil && s.left.Add(-1) >= 0 {
		s.act(ctx)
		pause(ctx, time.Duration(s.rng.Int64N(int64(s.pause))))
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
	e := newEvent(s.auth, workflows.WorkspaceCreated, id, s.auth.add(id, 1+s.rng.IntN(2)), s.withDelivery)
	s.creations[id] = e
	s.post.tell(ctx, e, f, nil)
}

func (s *sender) delete(ctx context.Context, id string, f fate) <-chan struct{} {
	delivered := make(chan struct{})
	s.post.tell(ctx, newEvent(s.auth, workflows.WorkspaceDeleted, id, s.auth.remove(id), s.withDelivery), f, delivered)
	return delivered
}

// flicker deletes a workspace, lists it again without a word for long enough that some reconcile runs see it, and deletes it again
// before the first grace period is over.
func (s *sender) flicker(ctx context.Context, id string) {
	<-s.delete(ctx, id, fate{})
	s.auth.add(id, 1)
	pause(ctx, gracePeriod*2/3)
	s.delete(ctx, id, fate{})
	s.left.Add(-2)
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
