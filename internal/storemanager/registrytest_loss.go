package storemanager

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func (on suite) TestNothingIsStoppedWhileALossIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		b.ensure(t, 1)
		b.begin(t, 2, "run")
		b.clock.Set(at(200))
		b.registry.Lose(t, "it was lost", b.clock.Now())
		_, err := b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: at(200)})
		require.ErrorIs(t, err, ErrLossUnacknowledged)
		require.ErrorContains(t, err, "it was lost")
		_, err = b.Stop(t.Context(), StopRequest{StoreID: "unknown", Owner: "run", AbsentAt: at(200)})
		require.ErrorIs(t, err, ErrLossUnacknowledged, "it may have been known")
		require.NotNil(t, b.get(t).Deletion)

		list := func(verdict GuardVerdict) {
			require.NoError(t, b.MarkMissing(t.Context(), MissingMarks{ListAt: at(201), Guard: verdict, GuardReason: "too many"}))
		}
		list(GuardHeld)
		require.Equal(t, &GuardHold{Since: at(200), Reason: "it was lost", Lost: true}, b.overview(t).Guard)
		list(GuardCleared)
		require.Equal(t, &GuardHold{Since: at(200), Reason: "it was lost", Lost: true}, b.overview(t).Guard)
		b.registry.Lose(t, "and again", b.clock.Now())
		require.Equal(t, "it was lost; and again", b.overview(t).Guard.Reason)

		for _, a := range []Acknowledgement{{Reason: "known"}, {Actor: "ann"}} {
			require.ErrorIs(t, b.AcknowledgeLoss(t.Context(), a), ErrInvalid)
		}
		require.NoError(t, b.AcknowledgeLoss(t.Context(), Acknowledgement{Reason: "known", Actor: "ann"}))
		require.Nil(t, b.overview(t).Guard)
		require.Equal(t, StopStopped, b.stop(t, "run"))
	})
}

func (on suite) TestAnApprovedPlanAcknowledgesALossThatWasFoundBefore(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		b.clock.Set(at(10))
		b.registry.Lose(t, "it was lost", b.clock.Now())
		approve := func(seconds int) {
			listAt := at(seconds)
			require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{RunID: "run", StartedAt: t0, CompletedAt: at(20), ApprovedListAt: &listAt}))
		}
		approve(9)
		require.True(t, b.overview(t).Guard.Lost, "whoever approved a plan then did not know of the loss")
		approve(11)
		require.Nil(t, b.overview(t).Guard)
		b.registry.Lose(t, "and again", b.clock.Now())
		listAt := at(12)
		require.NoError(t, b.RecordReconcile(t.Context(), ReconcileRun{RunID: "next", StartedAt: t0, CompletedAt: at(20), ApprovedListAt: &listAt, Actor: "ann"}))

		rows, err := b.registry.read.QueryContext(t.Context(), "SELECT acknowledged_by, reason FROM losses ORDER BY rowid")
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		var by [][2]string
		for rows.Next() {
			var one [2]string
			require.NoError(t, rows.Scan(&one[0], &one[1]))
			by = append(by, one)
		}
		require.NoError(t, rows.Err())
		require.Equal(t, [][2]string{{"whoever approved it", "the approved plan of run run"}, {"ann", "the approved plan of run next"}}, by)
	})
}

func (on suite) TestAPendingDeletionIsRestoredAfterALoss(t *testing.T) {
	t.Parallel()
	request := RestoreRequest{StoreID: id, EventAt: at(5), DeleteAt: at(100), Owner: "run"}
	deletion := &Deletion{EventAt: at(5), Since: t0, DeleteAt: at(100), Owner: "run"}
	for name, tt := range map[string]struct {
		known func(t *testing.T, b *bundle)
		want  *Deletion
	}{
		"an unknown store":                 {func(*testing.T, *bundle) {}, deletion},
		"a store that is older":            {func(t *testing.T, b *bundle) { b.ensure(t, 4) }, deletion},
		"a store that is newer":            {func(t *testing.T, b *bundle) { b.ensure(t, 6) }, nil},
		"a pinned store":                   {func(t *testing.T, b *bundle) { b.clock.Set(at(1)); b.pin(t, id); b.clock.Set(at(20)) }, nil},
		"a store that is held":             {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.hold(t, someHold) }, nil},
		"a deletion that was cancelled":    {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.begin(t, 5, "run"); b.cancel(t) }, nil},
		"an older one that was":            {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.begin(t, 3, "run"); b.cancel(t) }, deletion},
		"an older deletion of a backup":    {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.begin(t, 3, "earlier") }, deletion},
		"a newer deletion of another":      {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.begin(t, 7, "later") }, &Deletion{EventAt: at(7), Since: t0, DeleteAt: at(100), Owner: "later"}},
		"a deletion of the same moment":    {func(t *testing.T, b *bundle) { b.ensure(t, 1); b.begin(t, 5, "other") }, &Deletion{EventAt: at(5), Since: t0, DeleteAt: at(100), Owner: "other"}},
		"a store that is stopped by now":   {func(t *testing.T, b *bundle) { b.begin(t, 5, "run") }, nil},
		"the tombstone of an earlier life": {func(t *testing.T, b *bundle) { b.begin(t, 4, "run") }, deletion},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *bundle) {
				tt.known(t, b)
				b.registry.Lose(t, "it was lost", b.clock.Now())
				var first Store
				for repeat := range 2 {
					s, err := b.RestoreDeletion(t.Context(), request)
					require.NoError(t, err)
					require.Equal(t, tt.want, s.Deletion)
					require.Equal(t, b.get(t), s)
					if repeat == 0 {
						first = s
					}
					require.Equal(t, first, s)
				}
				requireCountsMatchRows(t, b.registry)
				if tt.want == deletion {
					require.Equal(t, outcomeRestored, b.events(t)[0].Outcome)
					require.NoError(t, b.AcknowledgeLoss(t.Context(), Acknowledgement{Reason: "known", Actor: "ann"}))
					b.clock.Set(at(100))
					require.Equal(t, StopStopped, b.stop(t, "run"))
				}
			})
		})
	}
}

func (b *bundle) cancel(t *testing.T) {
	t.Helper()
	_, err := b.CancelDeletion(t.Context(), CancelRequest{StoreID: id})
	require.NoError(t, err)
}

// The folder was lost, and the mark with it.
func (on suite) TestARunThatWaitsForAStoreThatWasNeverHereTellsOfALoss(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		s, err := b.RestoreDeletion(t.Context(), RestoreRequest{StoreID: id, EventAt: at(5), DeleteAt: at(100), Owner: "run", ByList: true})
		require.NoError(t, err)
		require.Equal(t, &Deletion{EventAt: at(5), Since: t0, DeleteAt: at(100), Owner: "run", ByList: true}, s.Deletion)
		require.True(t, b.overview(t).Guard.Lost)
		require.Contains(t, b.overview(t).Guard.Reason, "that the registry does not know")
		b.clock.Set(at(100))
		_, err = b.Stop(t.Context(), StopRequest{StoreID: id, Owner: "run", AbsentAt: at(100)})
		require.ErrorIs(t, err, ErrLossUnacknowledged)
	})
}

func (on suite) TestNoDeletionIsRestoredWithoutALoss(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *bundle) {
		request := RestoreRequest{StoreID: id, EventAt: at(5), DeleteAt: at(100), Owner: "run"}
		b.ensure(t, 1)
		s, err := b.RestoreDeletion(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, s.Deletion)

		b.registry.Lose(t, "it was lost", b.clock.Now())
		require.NoError(t, b.AcknowledgeLoss(t.Context(), Acknowledgement{Reason: "known", Actor: "ann"}))
		s, err = b.RestoreDeletion(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, s.Deletion)

		for _, bad := range []RestoreRequest{
			{StoreID: id, DeleteAt: at(1), Owner: "run"}, {StoreID: id, EventAt: at(1), Owner: "run"}, {StoreID: id, EventAt: at(1), DeleteAt: at(1)},
		} {
			_, err = b.RestoreDeletion(t.Context(), bad)
			require.ErrorIs(t, err, ErrInvalid)
		}
	})
}
