package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
