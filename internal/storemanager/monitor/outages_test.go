package monitor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"storekeeper/internal/demo"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/processor"
	"storekeeper/internal/storemanager/storetest"
)

// outages are those that a supervisor told of.
type outages struct {
	*monitored
	logs *observer.ObservedLogs

	mu    sync.Mutex
	told  []error
	ended []Outage
}

func superviseOutages(t *testing.T, changes ...func(*Options)) *outages {
	t.Helper()
	o := &outages{}
	core, logs := observer.New(zap.InfoLevel)
	o.logs = logs
	o.monitored = supervise(t, append(changes, func(options *Options) {
		options.Logger = zap.New(core)
		options.timing.ping, options.timing.silence = 5*time.Second, time.Minute // a slow machine is no outage
		options.Outage = func(news Outage) {
			o.mu.Lock()
			defer o.mu.Unlock()
			if news.Err == nil {
				o.ended = append(o.ended, news)
				return
			}
			o.told = append(o.told, news.Err)
		}
	})...)
	return o
}

func (o *outages) errors() []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]error(nil), o.told...)
}

func (o *outages) ends() []Outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Outage(nil), o.ended...)
}

func (o *outages) lines(message string) []observer.LoggedEntry {
	return o.logs.FilterMessage(message).All()
}

func (o *outages) connect(stores int) {
	o.t.Helper()
	for i := range stores {
		o.ensure(fmt.Sprintf("store-%02d", i))
	}
	o.allConnected(stores)
}

func (o *outages) allConnected(stores int) {
	o.t.Helper()
	require.Eventually(o.t, func() bool { return o.totals.subscribed.Load() == int64(stores) }, patience, time.Millisecond)
}

func TestTheLossOfABackendIsOneWarningAndOneEventHoweverManyStoresItHas(t *testing.T) {
	t.Parallel()
	for _, stores := range []int{1, 3, 50} {
		t.Run(fmt.Sprint(stores), func(t *testing.T) {
			t.Parallel()
			o := superviseOutages(t)
			o.connect(stores)
			o.backend.SetFault(demo.SyncFaultRefuse)
			o.backend.DropConnections()
			require.Eventually(t, func() bool { return len(o.errors()) == 1 }, patience, time.Millisecond)
			require.ErrorContains(t, o.errors()[0], fmt.Sprintf(" of its %d stores: ", stores))
			require.Len(t, o.lines("sync backend lost"), 1)
			require.Equal(t, zap.WarnLevel, o.lines("sync backend lost")[0].Level)
			require.EqualValues(t, stores, o.lines("sync backend lost")[0].ContextMap()["stores"])

			o.backend.SetFault(demo.SyncFaultNone)
			require.Eventually(t, func() bool { return len(o.lines("sync backend is back")) == 1 }, patience, time.Millisecond)
			require.Equal(t, zap.InfoLevel, o.lines("sync backend is back")[0].Level)
			require.Positive(t, o.lines("sync backend is back")[0].ContextMap()["after"])
			require.Eventually(t, func() bool { return len(o.ends()) == 1 }, patience, time.Millisecond)
			require.Equal(t, SyncBackend, o.ends()[0].Of)
			require.Greater(t, 2*o.ends()[0].Stores, stores)
			require.Positive(t, o.ends()[0].Lasted)

			// It comes and goes: no further news.
			o.allConnected(stores)
			o.backend.SetFault(demo.SyncFaultRefuse)
			o.backend.DropConnections()
			require.Never(t, func() bool { return len(o.errors()) > 1 }, 500*time.Millisecond, 10*time.Millisecond)
		})
	}
}

func TestABackendThatIsAwayAtTheStartIsAnOutage(t *testing.T) {
	t.Parallel()
	o := superviseOutages(t)
	o.backend.SetFault(demo.SyncFaultRefuse)
	for i := range 10 {
		o.ensure(fmt.Sprintf("store-%02d", i))
	}
	require.Eventually(t, func() bool { return len(o.errors()) == 1 }, patience, time.Millisecond)
}

func TestABackendThatAnswersEachPullWithAnErrorIsAnOutage(t *testing.T) {
	t.Parallel()
	o := superviseOutages(t)
	o.connect(5)
	o.backend.SetFault(demo.SyncFaultDefect)
	o.backend.DropConnections()
	require.Eventually(t, func() bool { return len(o.errors()) == 1 }, patience, time.Millisecond)
}

func TestOutagesAreThoseOfABackendAndOfMostOfItsStores(t *testing.T) {
	t.Parallel()
	other, err := demo.StartSyncBackend(t.Context(), demo.SyncBackendOptions{Token: storetest.Token})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Stop(context.Background())) })
	o := superviseOutages(t, func(options *Options) {
		known := options.SyncURL
		options.SyncURL = func(id string) string {
			switch id {
			case "alone-1", "alone-2":
				return other.URL()
			case "store-01", "store-02":
				return strings.Replace(known(id), "ws:", "ftp:", 1) // never dialed
			}
			return known(id)
		}
	})
	for i := range 8 {
		o.ensure(fmt.Sprintf("good-%02d", i))
	}
	o.ensure("alone-1")
	o.ensure("alone-2")
	o.allConnected(10)
	o.ensure("store-01")
	o.ensure("store-02")
	o.until("store-02", storemanager.ConnectionError)
	require.Never(t, func() bool { return len(o.errors()) > 0 }, 300*time.Millisecond, 10*time.Millisecond, "2 of 10 are no outage")
	other.SetFault(demo.SyncFaultRefuse)
	other.DropConnections()
	require.Eventually(t, func() bool { return len(o.errors()) == 1 }, patience, time.Millisecond)
	require.ErrorContains(t, o.errors()[0], "with 2 of its 2 stores")
}

func TestASinkThatHangsIsNoOutageOfTheBackend(t *testing.T) {
	t.Parallel()
	o := superviseOutages(t)
	o.events.failWith(func(ctx context.Context, _ processor.Batch) error {
		<-ctx.Done()
		return ctx.Err()
	})
	o.ensure(storetest.ID)
	o.push(storetest.ID, 1)
	o.until(storetest.ID, storemanager.ConnectionStuck)
	require.Never(t, func() bool { return len(o.errors()) > 0 }, 300*time.Millisecond, 10*time.Millisecond)
}

func TestASinkThatTakesNothingIsOneOutageHoweverManyStoresWait(t *testing.T) {
	t.Parallel()
	o := superviseOutages(t)
	const stores = 20
	o.connect(stores)
	o.events.failWith(func(context.Context, processor.Batch) error {
		return errors.New("the event sink answered with status 401")
	})
	for i := range stores {
		o.push(fmt.Sprintf("store-%02d", i), 1)
	}
	require.Eventually(t, func() bool { return len(o.errors()) == 1 }, patience, time.Millisecond)
	require.ErrorContains(t, o.errors()[0], "status 401")
	require.Empty(t, o.ends())
	o.events.failWith(nil)
	require.Eventually(t, func() bool { return len(o.ends()) == 1 }, patience, time.Millisecond)
	require.Equal(t, EventSink, o.ends()[0].Of)
	require.Equal(t, stores, o.ends()[0].Stores)
	require.Len(t, o.errors(), 1)
}

func TestAStoreThatIsRefusedWhileOthersAreTakenIsNoOutage(t *testing.T) {
	t.Parallel()
	var sink taking
	now := time.Now()
	sink.refused(false, "refused")
	sink.took()
	require.False(t, sink.look(now.Add(time.Hour), time.Second).began, "another store's batch was taken since")
	sink.refused(true, "refused again")
	require.True(t, sink.look(now.Add(time.Hour), time.Second).began, "none was taken since")
	sink.took()
	require.False(t, sink.look(now.Add(2*time.Hour), time.Second).over, "its batch still waits")
	sink.settled()
	require.True(t, sink.look(now.Add(2*time.Hour), time.Second).over)
	require.False(t, sink.look(now.Add(3*time.Hour), time.Second).over)
}

func TestAnOutageThatComesAndGoesIsToldAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	b := (&dials{atOnce: 1, hosts: map[string]*backend{}}).backend("ws://backend")
	now := time.Now()
	pass := func(d time.Duration) news {
		now = now.Add(d)
		return b.look(now, 5*time.Second)
	}
	b.changed(storemanager.Change{Previous: storemanager.ConnectionStopped, Connection: storemanager.ConnectionDisconnected})
	require.False(t, pass(time.Second).began)
	require.False(t, pass(4*time.Second).began, "it has not lasted")
	require.True(t, pass(time.Second).began)
	require.False(t, pass(time.Hour).began, "it lasts")
	up := func(n int) { b.subscribed(n) }
	up(+1)
	require.True(t, pass(time.Second).over)
	require.False(t, pass(time.Second).over)
	up(-1)
	require.False(t, pass(time.Second).began)
	require.True(t, pass(5*time.Second).began, "the last one was told an hour ago")
	up(+1)
	require.True(t, pass(time.Second).over)
	up(-1)
	require.False(t, pass(time.Second).began)
	require.False(t, pass(5*time.Second).began, "the last one was told a moment ago")
	require.True(t, pass(outageAgain).began, "and it lasts")
}
