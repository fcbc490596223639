// Command starter is the operator's CLI: it sends events to workspaces, starts reconcile runs and shows what is known of a
// store. It decides nothing itself; all it does goes through Temporal, and what it shows comes from the edge and from Temporal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on, the next one has its usual effect: it ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(Execute(ctx, Options{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(),
	}))
}
