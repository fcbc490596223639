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
	// The names of the two data stores in Temporal's configuration.
	executionsStore, visibilityStore = "executions", "visibility"

	// unlimited is more than one node can do. The node's own CPU and disk are then its limit, and they slow callers down. Temporal's quotas
	// are made for a cluster of many tenants, and refuse callers.
	unlimited = 100_000
)

// dataStores are where the server keeps its data.
type dataStores struct {
	executions, visibility *config.SQL
	// shards is the number of parts that the executions are divided into. It can never be changed. Shards spread load over nodes and
	// connections.
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

// dynamicConfig holds what differs from Temporal's defaults, which are made for a cluster. Limits that a workflow can notice (updates in
// flight, history length, payload size) stay as they are, so that what works here works on a cluster too. Task priorities need no setting:
// they are on by default (matching.useNewMatcher).
func dynamicConfig(historyLimit int) dynamicconfig.StaticClient {
	config := dynamicconfig.StaticClient{
		// At the default of 20 polls a second, each hand-over of a task within the server waits up to 50 ms. A poll happens only when there
		// is something to do, so an idle server pays nothing.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   2000,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      2000,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): 2000,

		// Partitions spread a task queue over matching nodes. With the default of four on one node, a task and the worker that waits for it
		// often land on different partitions and meet late.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		dynamicconfig.FrontendRPS.Key():                        unlimited,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key(): unlimited,
		dynamicconfig.HistoryRPS.Key():                         unlimited,
		dynamicconfig.MatchingRPS.Key():                        unlimited,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():          unlimited,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():           unlimited, // this also bounds the task schedulers and all polls of a host
		dynamicconfig.MatchingPersistenceMaxQPS.Key():          unlimited,
		// Lists and counts. One open page of the UI and one reconcile run use up the default of 10 a second.
		dynamicconfig.FrontendMaxNamespaceVisibilityRPSPerInstance.Key(): unlimited,
		// How many requests may wait (polls, updates, results) at the same time, for each API. The default is 1200.
		dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): unlimited,

		// A client that waits for a workflow's end sometimes misses the notification (1 in some 25 runs here). It then learns of the end
		// when its poll expires, which takes 20 s by default.
		dynamicconfig.HistoryLongPollExpirationInterval.Key(): time.Second,

		// How many workflows are kept in memory for an hour after their last use. A workflow that was dropped is read again when it is
		// needed. The default of 128,000 is more than an hour's workflows.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 2000,

		// Workflows past their retention are deleted within a minute, and not within half an hour: there is no second node to spread the
		// load for.
		dynamicconfig.RetentionTimerJitterDuration.Key(): time.Minute,

		// The check asks a host on the internet whether there is a newer version.
		dynamicconfig.EnableServerVersionCheck.Key(): false,
	}
	if historyLimit > 0 {
		config[dynamicconfig.HistoryCountSuggestContinueAsNew.Key()] = historyLimit
	}
	return config
}
