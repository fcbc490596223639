package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

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
