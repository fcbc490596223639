package registrytest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/storetest"
)

func (on suite) TestNothingIsStoppedWhileALossIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		b.MustEnsure(t, 1)
		b.MustBegin(t, 2, "run")
		b.Clock.Set(storetest.At(200))
		b.Registry.Lose(t, "it was lost", b.Clock.Now())
		_, err := b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.At(200)})
		require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged)
		require.ErrorContains(t, err, "it was lost")
		_, err = b.Stop(t.Context(), storemanager.StopRequest{StoreID: "unknown", Owner: "run", AbsentAt: storetest.At(200)})
		require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged, "it may have been known")
		require.NotNil(t, b.MustGet(t).Deletion)

		list := func(verdict storemanager.GuardVerdict) {
			require.NoError(t, b.MarkUnlisted(t.Context(), storemanager.ListMarks{ListAt: storetest.At(201), Guard: verdict, GuardReason: "too many"}))
		}
		list(storemanager.GuardKeepsBack)
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(200), Reason: "it was lost", Lost: true}, b.MustOverview(t).Guard)
		list(storemanager.GuardCleared)
		require.Equal(t, &storemanager.KeptBack{Since: storetest.At(200), Reason: "it was lost", Lost: true}, b.MustOverview(t).Guard)
		b.Registry.Lose(t, "and again", b.Clock.Now())
		require.Equal(t, "it was lost; and again", b.MustOverview(t).Guard.Reason)

		for _, a := range []storemanager.Acknowledgement{{Reason: "known"}, {Actor: "ann"}} {
			require.ErrorIs(t, b.AcknowledgeLoss(t.Context(), a), storemanager.ErrInvalid)
		}
		require.NoError(t, b.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
		require.Nil(t, b.MustOverview(t).Guard)
		require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
	})
}

func (on suite) TestAnApprovedPlanAcknowledgesALossThatWasFoundBefore(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		b.Clock.Set(storetest.At(10))
		b.Registry.Lose(t, "it was lost", b.Clock.Now())
		approve := func(seconds int) {
			listAt := storetest.At(seconds)
			require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{RunID: "run", StartedAt: storetest.T0, CompletedAt: storetest.At(20), ApprovedListAt: &listAt}))
		}
		approve(9)
		require.True(t, b.MustOverview(t).Guard.Lost, "whoever approved a plan then did not know of the loss")
		approve(11)
		require.Nil(t, b.MustOverview(t).Guard)
		b.Registry.Lose(t, "and again", b.Clock.Now())
		listAt := storetest.At(12)
		require.NoError(t, b.RecordReconcile(t.Context(), storemanager.ReconcileRun{RunID: "next", StartedAt: storetest.T0, CompletedAt: storetest.At(20), ApprovedListAt: &listAt, Actor: "ann"}))
		require.Nil(t, b.MustOverview(t).Guard)
	})
}

func (on suite) TestAPendingDeletionIsRestoredAfterALoss(t *testing.T) {
	t.Parallel()
	request := storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: storetest.At(5), DeleteAt: storetest.At(100), Owner: "run"}
	deletion := &storemanager.Deletion{EventAt: storetest.At(5), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "run"}
	for name, tt := range map[string]struct {
		known func(t *testing.T, b *storetest.Bundle)
		want  *storemanager.Deletion
	}{
		"an unknown store":      {func(*testing.T, *storetest.Bundle) {}, deletion},
		"a store that is older": {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 4) }, deletion},
		"a store that is newer": {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 6) }, nil},
		"a pinned store": {func(t *testing.T, b *storetest.Bundle) {
			b.Clock.Set(storetest.At(1))
			b.MustPin(t, storetest.ID)
			b.Clock.Set(storetest.At(20))
		}, nil},
		"a store that is held":             {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustHold(t, storetest.SomeHold) }, nil},
		"a deletion that was cancelled":    {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustBegin(t, 5, "run"); b.MustCancel(t) }, nil},
		"an older one that was":            {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustBegin(t, 3, "run"); b.MustCancel(t) }, deletion},
		"an older deletion of a backup":    {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustBegin(t, 3, "earlier") }, deletion},
		"a newer deletion of another":      {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustBegin(t, 7, "later") }, &storemanager.Deletion{EventAt: storetest.At(7), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "later"}},
		"a deletion of the same moment":    {func(t *testing.T, b *storetest.Bundle) { b.MustEnsure(t, 1); b.MustBegin(t, 5, "other") }, &storemanager.Deletion{EventAt: storetest.At(5), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "other"}},
		"a store that is stopped by now":   {func(t *testing.T, b *storetest.Bundle) { b.MustBegin(t, 5, "run") }, nil},
		"the tombstone of an earlier life": {func(t *testing.T, b *storetest.Bundle) { b.MustBegin(t, 4, "run") }, deletion},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on.each(t, func(t *testing.T, b *storetest.Bundle) {
				tt.known(t, b)
				b.Registry.Lose(t, "it was lost", b.Clock.Now())
				var first storemanager.Store
				for repeat := range 2 {
					s, err := b.RestoreDeletion(t.Context(), request)
					require.NoError(t, err)
					require.Equal(t, tt.want, s.Deletion)
					require.Equal(t, b.MustGet(t), s)
					if repeat == 0 {
						first = s
					}
					require.Equal(t, first, s)
				}
				storetest.RequireCountsMatchRows(t, b.Registry)
				if tt.want == deletion {
					require.Equal(t, "restored", b.MustHistory(t)[0].Outcome)
					require.NoError(t, b.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
					b.Clock.Set(storetest.At(100))
					require.Equal(t, storemanager.StopStopped, b.MustStop(t, "run"))
				}
			})
		})
	}
}

// The folder was lost, and the mark with it.
func (on suite) TestARunThatWaitsForAStoreThatWasNeverHereTellsOfALoss(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		s, err := b.RestoreDeletion(t.Context(), storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: storetest.At(5), DeleteAt: storetest.At(100), Owner: "run", ByList: true})
		require.NoError(t, err)
		require.Equal(t, &storemanager.Deletion{EventAt: storetest.At(5), Since: storetest.T0, DeleteAt: storetest.At(100), Owner: "run", ByList: true}, s.Deletion)
		require.True(t, b.MustOverview(t).Guard.Lost)
		require.Contains(t, b.MustOverview(t).Guard.Reason, "that the registry does not know")
		b.Clock.Set(storetest.At(100))
		_, err = b.Stop(t.Context(), storemanager.StopRequest{StoreID: storetest.ID, Owner: "run", AbsentAt: storetest.At(100)})
		require.ErrorIs(t, err, storemanager.ErrLossUnacknowledged)
	})
}

func (on suite) TestNoDeletionIsRestoredWithoutALoss(t *testing.T) {
	t.Parallel()
	on.each(t, func(t *testing.T, b *storetest.Bundle) {
		request := storemanager.RestoreRequest{StoreID: storetest.ID, EventAt: storetest.At(5), DeleteAt: storetest.At(100), Owner: "run"}
		b.MustEnsure(t, 1)
		s, err := b.RestoreDeletion(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, s.Deletion)

		b.Registry.Lose(t, "it was lost", b.Clock.Now())
		require.NoError(t, b.AcknowledgeLoss(t.Context(), storemanager.Acknowledgement{Reason: "known", Actor: "ann"}))
		s, err = b.RestoreDeletion(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, s.Deletion)

		for _, bad := range []storemanager.RestoreRequest{
			{StoreID: storetest.ID, DeleteAt: storetest.At(1), Owner: "run"}, {StoreID: storetest.ID, EventAt: storetest.At(1), Owner: "run"}, {StoreID: storetest.ID, EventAt: storetest.At(1), DeleteAt: storetest.At(1)},
		} {
			_, err = b.RestoreDeletion(t.Context(), bad)
			require.ErrorIs(t, err, storemanager.ErrInvalid)
		}
	})
}
