package storemanager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// onEachWatcher runs a test against both forms of the Watcher.
func onEachWatcher(t *testing.T, test func(t *testing.T, log *changeLog, w Watcher)) {
	t.Helper()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		log := newChangeLog()
		test(t, log, watchable{log: log})
	})
	t.Run("over HTTP", func(t *testing.T) {
		t.Parallel()
		log := newChangeLog()
		c := serve(t, watchable{log: log}, nil)
		t.Cleanup(log.close) // before the server waits for its streams
		test(t, log, c)
	})
}

func TestWatchBeginsNowAndGoesOn(t *testing.T) {
	t.Parallel()
	onEachWatcher(t, func(t *testing.T, log *changeLog, w Watcher) {
		log.append(someChange(1))
		told, _ := watch(t, w, "")
		begin := next(t, told)
		require.Equal(t, Change{ID: begin.ID, Lost: true}, begin)
		for i := 2; i < 10; i++ {
			log.append(someChange(i))
			got, want := next(t, told), someChange(i)
			want.ID = got.ID
			require.Equal(t, want, got)
		}

		// Another one that knows the beginning hears the same without a gap.
		again, _ := watch(t, w, begin.ID)
		for i := 2; i < 10; i++ {
			require.Equal(t, someChange(i).StoreID, next(t, again).StoreID)
		}
		log.append(someChange(10))
		require.Equal(t, next(t, told), next(t, again))
	})
}

func TestWatchFromAPlaceThatIsNotKnownBeginsWithLost(t *testing.T) {
	t.Parallel()
	other := newChangeLog()
	other.append(someChange(1))
	for name, after := range map[string]string{
		"of another process": other.id(1), "no id": "xyz", "not yet given": "-9", "not a number": "-x", "negative": "--1",
		"beyond all numbers": "-99999999999999999999", "a header of its own": "\r\nX: y",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachWatcher(t, func(t *testing.T, log *changeLog, w Watcher) {
				log.append(someChange(1))
				from := after
				if strings.HasPrefix(after, "-") {
					from = log.epoch + after
				}
				told, _ := watch(t, w, from)
				require.Equal(t, Change{ID: log.id(1), Lost: true}, next(t, told))
				log.append(someChange(2))
				require.Equal(t, log.id(2), next(t, told).ID)
			})
		})
	}
}

func TestWatchTellsASlowReaderThatItLostSome(t *testing.T) {
	t.Parallel()
	log := newChangeLog()
	log.append(someChange(1))
	var told []Change
	errEnough := errors.New("enough")
	require.ErrorIs(t, log.watch(t.Context(), log.id(0), func(c Change) error {
		told = append(told, Change{ID: c.ID, Lost: c.Lost})
		switch len(told) {
		case 1:
			for i := range 10_000 { // all stores at once
				log.append(someChange(i))
			}
		case 2:
			log.append(someChange(1))
		case 3:
			for i := range keptChanges { // as many as can be waiting
				log.append(someChange(i))
			}
		case 4:
			for range 2 { // and one more
				log.append(someChange(1))
			}
		case 5:
			return errEnough
		}
		return nil
	}), errEnough)
	require.Equal(t, []Change{
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
	log := newChangeLog()
	var readers, writers sync.WaitGroup
	errDone := errors.New("done")
	for range 8 {
		readers.Go(func() {
			last := uint64(0)
			err := log.watch(t.Context(), log.id(0), func(c Change) error {
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
				log.append(someChange(i))
			}
		})
	}
	writers.Wait()
	readers.Wait()
}

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	onEachWatcher(t, func(t *testing.T, log *changeLog, w Watcher) {
		mine := errors.New("enough")
		require.ErrorIs(t, w.Watch(t.Context(), "", func(Change) error { return mine }), mine)

		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, w.Watch(ctx, "", func(Change) error {
			cancel()
			return nil
		}), context.Canceled)

		told, ended := watch(t, w, "")
		next(t, told)
		log.close()
		require.ErrorIs(t, next(t, ended), ErrShutdown)
		require.ErrorIs(t, w.Watch(t.Context(), "", func(Change) error { return nil }), ErrShutdown)
		log.append(someChange(1)) // does no harm
		log.close()
	})
}
