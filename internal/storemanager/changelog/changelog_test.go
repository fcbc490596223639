package changelog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storehttp"
	"storekeeper/internal/storemanager/storehttp/storehttptest"
	"storekeeper/internal/storemanager/storetest"
)

// onEachWatcher runs a test against both forms of the Watcher.
func onEachWatcher(t *testing.T, test func(t *testing.T, log *Log, w storemanager.Watcher)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		log := New()
		test(t, log, log)
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		log := New()
		c := storehttptest.Serve(t, storehttp.Options{Watcher: log})
		t.Cleanup(log.Close) // before the server waits for its streams
		test(t, log, c)
	})
}

func TestWatchBeginsNowAndGoesOn(t *testing.T) {
	t.Parallel()
	onEachWatcher(t, func(t *testing.T, log *Log, w storemanager.Watcher) {
		log.Append(storetest.SomeChange(1))
		told, _ := storetest.Watch(t, w, "")
		begin := storetest.Next(t, told)
		require.Equal(t, storemanager.Change{ID: begin.ID, Lost: true}, begin)
		for i := 2; i < 10; i++ {
			log.Append(storetest.SomeChange(i))
			got, want := storetest.Next(t, told), storetest.SomeChange(i)
			want.ID = got.ID
			require.Equal(t, want, got)
		}

		// Another one that knows the beginning hears the same without a gap.
		again, _ := storetest.Watch(t, w, begin.ID)
		for i := 2; i < 10; i++ {
			require.Equal(t, storetest.SomeChange(i).StoreID, storetest.Next(t, again).StoreID)
		}
		log.Append(storetest.SomeChange(10))
		require.Equal(t, storetest.Next(t, told), storetest.Next(t, again))
	})
}

func TestWatchFromAPlaceThatIsNotKnownBeginsWithLost(t *testing.T) {
	t.Parallel()
	other := New()
	other.Append(storetest.SomeChange(1))
	for name, after := range map[string]string{
		"of another process": other.id(1), "no id": "xyz", "not yet given": "-9", "not a number": "-x", "negative": "--1",
		"beyond all numbers": "-99999999999999999999", "a header of its own": "\r\nX: y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachWatcher(t, func(t *testing.T, log *Log, w storemanager.Watcher) {
				log.Append(storetest.SomeChange(1))
				from := after
				if strings.HasPrefix(after, "-") {
					from = log.epoch + after
				}
				told, _ := storetest.Watch(t, w, from)
				require.Equal(t, storemanager.Change{ID: log.id(1), Lost: true}, storetest.Next(t, told))
				log.Append(storetest.SomeChange(2))
				require.Equal(t, log.id(2), storetest.Next(t, told).ID)
			})
		})
	}
}

func TestWatchTellsASlowReaderThatItLostSome(t *testing.T) {
	t.Parallel()
	log := New()
	log.Append(storetest.SomeChange(1))
	var told []storemanager.Change
	errEnough := errors.New("enough")
	require.ErrorIs(t, log.Watch(t.Context(), log.id(0), func(c storemanager.Change) error {
		told = append(told, storemanager.Change{ID: c.ID, Lost: c.Lost})
		switch len(told) {
		case 1:
			for i := range 10_000 { // all stores at once
				log.Append(storetest.SomeChange(i))
			}
		case 2:
			log.Append(storetest.SomeChange(1))
		case 3:
			for i := range keptChanges { // as many as can be waiting
				log.Append(storetest.SomeChange(i))
			}
		case 4:
			for range 2 { // and one more
				log.Append(storetest.SomeChange(1))
			}
		case 5:
			return errEnough
		}
		return nil
	}), errEnough)
	require.Equal(t, []storemanager.Change{
		{ID: log.id(1)},
		{ID: log.id(10_001), Lost: true},
		{ID: log.id(10_002)},
		{ID: log.id(10_003)},
		{ID: log.id(10_004 + keptChanges), Lost: true},
	}, told)
}

func TestManyWatchersMissNothingSilently(t *testing.T) {
	t.Parallel()
	const changes = 20_000
	log := New()
	var readers, writers sync.WaitGroup
	errDone := errors.New("done")
	for range 8 {
		readers.Go(func() {
			last := uint64(0)
			err := log.Watch(t.Context(), log.id(0), func(c storemanager.Change) error {
				n, ok := log.parse(c.ID)
				if !ok || (n != last+1 && !c.Lost) || n <= last {
					return fmt.Errorf("%v after %d", c, last)
				}
				if last = n; last == changes {
					return errDone
				}
				return nil
			})
			if !errors.Is(err, errDone) {
				t.Error(err)
			}
		})
	}
	for range 4 {
		writers.Go(func() {
			for i := range changes / 4 {
				log.Append(storetest.SomeChange(i))
			}
		})
	}
	writers.Wait()
	readers.Wait()
}

func TestWatchEndsWithItsContextItsReaderOrTheLog(t *testing.T) {
	t.Parallel()
	onEachWatcher(t, func(t *testing.T, log *Log, w storemanager.Watcher) {
		mine := errors.New("enough")
		require.ErrorIs(t, w.Watch(t.Context(), "", func(storemanager.Change) error { return mine }), mine)

		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, w.Watch(ctx, "", func(storemanager.Change) error {
			cancel()
			return nil
		}), context.Canceled)

		told, ended := storetest.Watch(t, w, "")
		storetest.Next(t, told)
		log.Close()
		require.ErrorIs(t, storetest.Next(t, ended), storemanager.ErrShutdown)
		require.ErrorIs(t, w.Watch(t.Context(), "", func(storemanager.Change) error { return nil }), storemanager.ErrShutdown)
		log.Append(storetest.SomeChange(1)) // does no harm
		log.Close()
	})
}
