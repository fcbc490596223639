package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"storekeeper/internal/dbfile"
)

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
