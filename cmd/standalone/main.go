// Command standalone runs all of Storekeeper in one process, on an embedded Temporal server.
package main

import (
	"context"
	"fmt"
	"os"

	"go.uber.org/zap"

	"storekeeper/internal/config"
	"storekeeper/internal/process"
	"storekeeper/internal/standalone"
	"storekeeper/internal/temporalserver"
)

func main() {
	var o standalone.Options
	var temporalDB string
	var defaulted []string
	cmd := process.Command(process.Options{
		Use:   "standalone",
		Short: "Storekeeper in one process",
		Long: "Runs the edge, the worker, the store manager and an embedded Temporal server in one process. --demo adds a demo Auth Worker and,\nunless LIVESTORE_SYNC_URL is set, a demo sync backend.\n\n" +
			"Everything is kept under --data-dir and found again after a restart; with TEMPORAL_DB, Temporal's part of it in a PostgreSQL.",
		Role: config.RoleStandalone,
		Environ: func() ([]string, error) {
			environ := os.Environ()
			if temporalDB != "" {
				environ = append(environ, "TEMPORAL_DB="+temporalDB)
			}
			if o.Demo {
				environ, defaulted = standalone.DemoEnviron(environ)
			}
			return environ, nil
		},
		Run: func(ctx context.Context, p *process.Process) error {
			// Temporal's server reads it, too: it would send its own spans, and take no protocol but gRPC. Ours are begun already.
			if err := os.Unsetenv("OTEL_TRACES_EXPORTER"); err != nil {
				return err
			}
			fmt.Println("storekeeper: starting")
			if o.Listen == "" {
				o.Listen = p.Config.Listen()
			}
			if len(defaulted) > 0 {
				p.Log.Warn("published demo secrets are in use, never expose this process", zap.Strings("settings", defaulted))
			}
			o.Ready = func(sys *standalone.System) {
				fmt.Print(standalone.Banner(sys, p.Config.BypassToken() == standalone.DemoBypassToken))
			}
			return standalone.Run(ctx, p, o)
		},
	})
	f := cmd.Flags()
	f.BoolVar(&o.Demo, "demo", false, "start a demo Auth Worker and a demo sync backend, and default the secrets to published ones")
	f.StringVar(&o.DataDir, "data-dir", "./data", "where everything is kept")
	o.Restore.Flags(f, "--data-dir")
	f.BoolVar(&o.Ephemeral, "ephemeral", false, "keep everything in memory and nothing on disk")
	f.StringVar(&temporalDB, "temporal-db", "", "where Temporal's data is kept: postgres://user:password@host/temporal (default a file under --data-dir, or $TEMPORAL_DB, which others can't read)")
	process.Secret(f, "temporal-db")
	f.StringVar(&o.Listen, "listen", "", "where the edge listens (default 127.0.0.1:$PORT, or $LISTEN)")
	f.StringVar(&o.TemporalListen, "temporal-listen", "127.0.0.1:7233", "where Temporal listens")
	f.StringVar(&o.TemporalSchema, "temporal-schema", string(temporalserver.SchemaLean),
		"what Temporal's database is brought to: lean, or full, which is Temporal's own and can be used by Temporal's other programs")
	f.StringVar(&o.UIListen, "ui-listen", "127.0.0.1:8233", "where the Temporal Web UI listens; empty: none")
	f.StringSliceVar(&o.UIHosts, "ui-host", nil, "a name by which the Temporal Web UI may be asked, beside localhost, loopback addresses and the one it listens on: that of a reverse proxy; can be repeated")
	f.StringVar(&o.AuthListen, "auth-listen", "127.0.0.1:8788", "where the demo Auth Worker listens")
	f.StringVar(&o.SyncListen, "sync-listen", "127.0.0.1:8787", "where the demo sync backend listens")
	process.Main(cmd)
}
