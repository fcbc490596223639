package telemetry

import "github.com/prometheus/client_golang/prometheus"

// RegisterSecrets makes each scrape ask whether the files of secrets have a content that is not used. Registering twice panics.
func (m *Metrics) RegisterSecrets(refused func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "storekeeper_secrets_refused",
		Help: "1 if the files of secrets have a content that is not used, because it is not accepted, else 0.",
	}, func() float64 { return oneIf(refused()) }))
}
