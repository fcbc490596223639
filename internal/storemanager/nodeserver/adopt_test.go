package nodeserver

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

// wanted says how many have the lock of the store or wait for it.
func (ls *storeLocks) wanted(id string) int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.of[id]; l != nil {
		return l.users
	}
	return 0
}

func TestNodeAdoptsNoStoreThatIsStoppedWhileItsListIsUnderWay(t *testing.T) {
	t.Parallel()
	b := setupNode(t)
	require.Equal(t, storemanager.DeletionAlreadyStopped, b.MustBegin(t, 1, "first"))
	b.fake.boot(storetest.ID) // the server has it again by itself, so the next look at it takes it into the registry
	asked, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	var lists atomic.Int32
	b.fake.set(func() {
		b.fake.answer = func(http.ResponseWriter) bool { // the list is as it was when it was asked for
			if lists.Add(1) == 1 {
				close(asked)
				<-held
			}
			return false
		}
	})
	marked := make(chan error, 1)
	go func() {
		marked <- b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(5), Unlisted: []string{storetest.ID}})
	}()
	storetest.Next(t, asked)

	// Meanwhile the workspace comes back and goes for good.
	b.Clock.Set(storetest.At(100))
	stopped := make(chan error, 1)
	go func() {
		_, err := b.tryEnsure(t.Context(), 10)
		if err == nil {
			_, err = b.BeginDeletion(t.Context(), storemanager.DeletionRequest{StoreID: storetest.ID, At: storetest.At(11), DeleteAt: storetest.At(100), Owner: "second"})
		}
		if err == nil {
			_, err = b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "second", AbsentAt: b.Clock.Now()})
		}
		stopped <- err
	}()
	require.Eventually(t, func() bool { return b.node.storeLocks.wanted(storetest.ID) > 1 || len(stopped) == 1 }, 10*time.Second, time.Millisecond,
		"it neither waits for the list nor overtakes it")
	release()
	require.NoError(t, storetest.Next(t, marked))
	require.NoError(t, storetest.Next(t, stopped))
	require.Empty(t, b.fake.ids())
	require.Equal(t, storemanager.StateStopped, b.MustGet(t).State, "the old list has brought back what the server no longer has")
	require.Zero(t, b.overview(t).Monitored)
}
