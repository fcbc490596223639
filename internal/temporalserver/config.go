package temporalserver

import (
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

const (
	clusterName = "active"
	// How the configuration names the two stores.
	executionsStore, visibilityStore = "executions", "visibility"

	// More than one node can do: what limits it is then its own CPU and disk, which slow callers down, not a quota made
	// for a cluster of many tenants, which refuses them.
	unlimited = 100_000
)

// dataStores are where the server keeps its data.
type dataStores struct {
	executions, visibility *config.SQL
	// shards is how many parts the executions have, once and for all. They spread load over nodes and connections.
	shards int32
}

func serverOptions(addrs addresses, s dataStores, historyLimit int, logger log.Logger) []temporal.ServerOption {
	hosts := map[primitives.ServiceName]static.Hosts{}
	services := map[string]config.Service{}
	for name, addr := range addrs.services() {
		hosts[name] = static.SingleLocalHost(addr.String())
		services[string(name)] = config.Service{RPC: config.RPC{
			GRPCPort: int(addr.Port()),
			BindOnIP: addr.Addr().String(),
		}}
	}
	frontend := addrs.frontend.String()
	return []temporal.ServerOption{
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithDynamicConfigClient(dynamicConfig(historyLimit)),
		temporal.WithConfig(&config.Config{
			Persistence: config.Persistence{
				DefaultStore:     executionsStore,
				VisibilityStore:  visibilityStore,
				NumHistoryShards: s.shards,
				DataStores: map[string]config.DataStore{
					executionsStore: {SQL: s.executions}, visibilityStore: {SQL: s.visibility},
				},
			},
			ClusterMetadata: &cluster.Config{
				FailoverVersionIncrement: 10,
				MasterClusterName:        clusterName,
				CurrentClusterName:       clusterName,
				ClusterInformation: map[string]cluster.ClusterInformation{
					clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
				},
			},
			DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
			Services:            services,
			Archival: config.Archival{
				History:    config.HistoryArchival{State: "disabled"},
				Visibility: config.VisibilityArchival{State: "disabled"},
			},
			NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
				History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
				Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
			}},
			PublicClient: config.PublicClient{HostPort: frontend},
		}),
	}
}

// dynamicConfig is what differs from Temporal's defaults, which are made for a cluster. Limits that a workflow can
// notice (updates in flight, history length, payload size) stay, so that what works here works on a cluster.
// Task priorities need nothing: they are on by default (matching.useNewMatcher).
func dynamicConfig(historyLimit int) dynamicconfig.StaticClient {
	config := dynamicconfig.StaticClient{
		// At the default of 20 polls a second, each hand-over of a task within the server waits up to 50 ms. A poll
		// happens only when there is something to do, so an idle server pays nothing.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   2000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      2000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 2000,

		// Partitions spread a task queue over matching nodes. On one node a task and the worker that waits for it land
		// on different ones of the default four and are brought together late.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		dynamicconfig.FrontendRPS.Key():                        unlimited,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key(): unlimited,
		dynamicconfig.HistoryRPS.Key():                         unlimited,
		dynamicconfig.MatchingRPS.Key():                        unlimited,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():          unlimited,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():           unlimited, // also bounds the task schedulers and all polls of a host
		dynamicconfig.MatchingPersistenceMaxQPS.Key():          unlimited,
		// Lists and counts; the default of 10 a second is used up by one open page of the UI and one reconcile.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): unlimited,
		// Requests that wait (polls, updates, results) at the same time, for each API; the default is 1200.
		dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): unlimited,

		// Who waits for a workflow's end now and then misses the notification (1 in some 25 runs here) and hears of it when the
		// poll expires: after 20 s by default.
		dynamicconfig.HistoryLongPollExpirationInterval.Key(): time.Second,

		// Workflows that are kept in memory after their last use, for an hour; the default of 128,000 is more than an hour's. One that is needed
		// again is read again.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 2000,

		// What is past its retention goes within a minute, and not within half an hour: there is no second node to spread the load for.
		dynamicconfig.RetentionTimerJitterDuration.Key(): time.Minute,

		// It asks a host on the internet whether there is a newer version.
		dynamicconfig.EnableServerVersionCheck.Key(): false,
	}
	if historyLimit > 0 {
		config[dynamicconfig.HistoryCountSuggestContinueAsNew.Key()] = historyLimit
	}
	return config
}
