package cli

import (
	"context"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"storekeeper/internal/build"
	"storekeeper/internal/tracing"
	"storekeeper/internal/tracing/export"
)

// traced runs the command as one trace and one request, for what it asks of Temporal and of the edge.
func (a *app) traced(ctx context.Context, root *cobra.Command) error {
	stop, err := export.Start(ctx, export.Options{Environ: a.Environ, Service: "storekeeper-starter", Version: build.Version})
	if err == nil { // a deletion can be cancelled, whatever is wrong with these settings
		defer stop()
	}
	ctx, end := tracing.Begin(tracing.WithRequestID(ctx, uuid.NewString()), "starter "+a.commandName(root))
	err = root.ExecuteContext(ctx)
	end(err)
	return err
}

// commandName is the command without its arguments, which are the operator's own words; "" if there is no such command.
func (a *app) commandName(root *cobra.Command) string {
	found, _, err := root.Find(a.Args)
	if err != nil || found == root {
		return ""
	}
	return found.Name()
}
