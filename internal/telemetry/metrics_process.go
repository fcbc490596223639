package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"storekeeper/internal/dbfile"
)

// storeTimeout bounds the questions that a scrape asks. Prometheus itself gives up after 10 s by default.
const storeTimeout = 2 * time.Second

// MonitorFigures are what the monitors and the memory of webhooks of this process did. They are no other process's.
type MonitorFigures struct {
	// These count since the process began.
	Events, Errors, Reconnects, Resets int64
	// Dialing is how many connections to sync backends are being made now.
	Dialing int64
	// Deliveries is how many answered webhooks are remembered.
	Deliveries int64
}

// RegisterMonitors makes each scrape ask for the figures of the process's monitors. ask gets a context that ends after 2 s. If it fails,
// that scrape shows none of the figures. Registering twice panics.
func (m *Metrics) RegisterMonitors(ask func(context.Context) (MonitorFigures, error)) {
	m.registry.MustRegister(monitorCollector{
		ask:        ask,
		events:     desc("store_events_total", "Events that the processor took."),
		errors:     desc("store_errors_total", "Failed attempts to subscribe, lost subscriptions and failures of the processor."),
		reconnects: desc("store_reconnects_total", "Subscriptions but the first of each store."),
		resets:     desc("store_resets_total", "Stores found to be reset at the sync backend."),
		dialing:    desc("store_dials", "Connections to sync backends that are being made."),
		deliveries: desc("deliveries", "Webhooks that are remembered, so that a repeat gets the first answer."),
	})
}

type monitorCollector struct {
	ask                                                     func(context.Context) (MonitorFigures, error)
	events, errors, reconnects, resets, dialing, deliveries *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c monitorCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.events, c.errors, c.reconnects, c.resets, c.dialing, c.deliveries} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c monitorCollector) Collect(ch chan<- prometheus.Metric) {
	// A collector gets no context from the scrape.
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout) //nolint:forbidigo // as said above
	defer cancel()
	f, err := c.ask(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.events, err)
		return
	}
	for d, n := range map[*prometheus.Desc]int64{c.events: f.Events, c.errors: f.Errors, c.reconnects: f.Reconnects, c.resets: f.Resets} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
	ch <- prometheus.MustNewConstMetric(c.dialing, prometheus.GaugeValue, float64(f.Dialing))
	ch <- prometheus.MustNewConstMetric(c.deliveries, prometheus.GaugeValue, float64(f.Deliveries))
}

// AuthLists are the figures of the lists that this process has asked the Auth Worker for.
type AuthLists struct {
	// ListAt is the moment from which the newest complete list counts; the zero time before there is one.
	ListAt time.Time
	// Failing: the newest attempt gave no list that counts.
	Failing bool
	// Ended counts the attempts since the process began, by how they ended. The keys are always the same.
	Ended map[string]int64
}

// RegisterAuthLists makes each scrape ask for these figures and show them. Before the first attempt has ended all it shows is that none has.
// Registering twice panics.
func (m *Metrics) RegisterAuthLists(ask func() AuthLists) {
	m.registry.MustRegister(authListCollector{
		ask:     ask,
		at:      desc("auth_list_timestamp_seconds", "From when the newest complete list of the Auth Worker counts, in Unix time."),
		failing: desc("auth_list_failing", "1 if the newest attempt to get the list of the Auth Worker gave none that counts, else 0."),
		ended:   desc("auth_lists_total", "Attempts to get the list of the Auth Worker.", "outcome"),
	})
}

type authListCollector struct {
	ask                func() AuthLists
	at, failing, ended *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c authListCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.at, c.failing, c.ended} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c authListCollector) Collect(ch chan<- prometheus.Metric) {
	lists := c.ask()
	if !lists.ListAt.IsZero() {
		ch <- prometheus.MustNewConstMetric(c.at, prometheus.GaugeValue, unix(lists.ListAt))
	}
	var all int64
	for outcome, n := range lists.Ended {
		all += n
		ch <- prometheus.MustNewConstMetric(c.ended, prometheus.CounterValue, float64(n), outcome)
	}
	if all > 0 {
		ch <- prometheus.MustNewConstMetric(c.failing, prometheus.GaugeValue, oneIf(lists.Failing))
	}
}

// RegisterDatabases makes each scrape show the disk space of the process's databases. Registering twice panics.
func (m *Metrics) RegisterDatabases(ask func() []dbfile.Usage) {
	m.registry.MustRegister(databaseCollector{
		ask:  ask,
		size: desc("database_size_bytes", "Size of the database and its log.", "database"),
		free: desc("database_disk_free_bytes", "What is free of the file system that the database lies on.", "database"),
	})
}

type databaseCollector struct {
	ask        func() []dbfile.Usage
	size, free *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c databaseCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.size
	ch <- c.free
}

// Collect implements prometheus.Collector.
func (c databaseCollector) Collect(ch chan<- prometheus.Metric) {
	for _, u := range c.ask() {
		ch <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(u.Bytes), u.Name)
		ch <- prometheus.MustNewConstMetric(c.free, prometheus.GaugeValue, float64(u.DiskFree), u.Name)
	}
}
