// Package cli is the operator's command line: it sends events to workspaces, starts reconcile runs and shows what is known of a
// store. It decides nothing itself. What it does goes through Temporal and the edge, and what it shows comes from these two. Only push
// talks to a third, the sync backend.
package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/build"
	"storekeeper/internal/cli/duration"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/shortid"
	"storekeeper/internal/cli/temporalclient"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/config"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/tracing"
	"storekeeper/internal/tracing/export"
)

// Options are all that a run of the CLI takes from outside.
type Options struct {
	// Args are the arguments without the program's name.
	Args []string
	// Stdin is read where --file is "-", and for the answer to a question; nil: nobody is there.
	Stdin io.Reader
	// Stdout gets what was asked for, Stderr what went wrong and how far a wait is.
	Stdout, Stderr io.Writer
	// Environ are the variables as "NAME=value"; the process's own environment is not read beside it.
	Environ []string
}

// Run runs one command and returns the exit code for the process; the help lists the codes. When ctx ends, the command does.
func Run(ctx context.Context, o Options) int {
	transport := httpclient.Traced(httpclient.Transport())
	defer transport.CloseIdleConnections()
	a := &app{Options: o, transport: transport}
	root := a.rootCommand()
	if o.Args == nil {
		o.Args = []string{} // cobra takes nil for os.Args
	}
	root.SetArgs(o.Args)
	root.SetOut(o.Stdout)
	root.SetErr(o.Stderr)
	err := a.traced(ctx, root)
	if err == nil && a.stdoutErr != nil {
		err = exit.Unexpected(fmt.Errorf("stdout can't be written: %w", a.stdoutErr))
	}
	if err == nil {
		return int(exit.Done)
	}
	f := exit.Of(ctx, err)
	if a.json || slices.Contains(o.Args, "--json") { // it may stand after the flag that could not be parsed
		_ = text.WriteJSON(a.Stderr, f.Body())
	} else {
		a.tell("starter: %s\n", text.PlainLines(f.Error()))
	}
	return int(f.Exit)
}

// app is one run of the CLI.
type app struct {
	Options

	// The global flags.
	json                        bool
	timeout                     time.Duration
	address, namespace, profile string
	url                         string

	// transport has the connections to the edge. All requests of the run share it: a watch makes many.
	transport http.RoundTripper

	// pinned is what stdout counts as; nil: what it is. silent keeps show from running anything.
	pinned *term.Screen
	silent bool

	// stdoutErr is the first error of a write to stdout.
	stdoutErr error
}

const rootLong = `starter is the operator's CLI of Storekeeper.

It sends the same events that webhooks do, through Temporal, and shows what the edge and Temporal know. Every command can
be repeated without harm, but push, which adds an event to a store each time.

Temporal is found by the flags, else by the TEMPORAL_* variables and the profiles of temporal.toml, else at 127.0.0.1:7233.
The edge is found by --url, else by STOREKEEPER_URL; its token comes from the variable STOREKEEPER_TOKEN, or else the first of
SERVER_BYPASS_TOKEN, because a flag would show in the list of processes. Each secret can be in a file instead, named by the
same variable with _FILE.

Who asks for something is named by --actor, else by STOREKEEPER_ACTOR, else by the name or id of the user (a token with a name counts more), and
--reason says why: both are kept in the audit trail, which starter audit and starter history show.

Where a store is named that is there, the beginning of its id is enough if no other begins so: 8 characters of it, for status and history any number.
A day has 24 hours in a duration such as 7d, 2w or 1d12h. starter completion bash (zsh, fish) prints what completes commands, ids and
states.

Exit codes:
  0    done
  1    unexpected failure
  2    usage: a bad flag, argument or id
  3    Temporal or its workers, the edge, the Auth Worker, the store manager or the sync backend can't be reached, or answers
       with a fault of its own
  4    not found: no such store, or no deletion is pending
  5    refused: by a hold, a pin, the Auth Worker's list or newer knowledge, by a plan that has changed or
       can't be carried out, or because of a wrong token or a missing setting; or verify-removals has found an unjustified one
  6    the guard of a reconcile run has held back its removals
  7    accepted for good, but the outcome is not known yet
  8    drift: drift has found something to repair, or a reconcile run, or a command about several stores, could not do all that it should
  9    health or doctor has found something wrong
  130  interrupted
go run turns all but 0 into 1, and prints the code; the JSON of an error has it as exitCode.

With --json a command writes one JSON value to stdout (history, audit and --watch one a line), and an error as {"error":{"code","message","exitCode"}} to stderr.`

const rootExample = `  starter health
  starter list --state deletion_pending
  starter status ws-1
  starter history ws-1
  starter delete ws-1 --reason "the customer has left" --grace 1h
  starter cancel-delete ws-1 --reason "still needed"
  starter reconcile --wait
  starter push ws-1

  # what differs, and exactly that repaired
  starter drift
  starter reconcile --plan
  starter reconcile --apply 3f9a61c2d07b45e8 --reason "the customers have left"

  # pause reconciliation, and go on
  starter pause
  starter pause --reason "Auth Worker is being moved" --for 2h
  starter resume --reason "moved"

  # the same without the edge: no runs at all
  temporal schedule toggle --schedule-id workspace-reconcile --pause --reason "Auth Worker is being moved"
  temporal schedule toggle --schedule-id workspace-reconcile --unpause --reason "moved"`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "starter",
		Short:         "The operator's CLI of Storekeeper",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.timeout <= 0 {
				return exit.UsageError("--timeout must be more than 0")
			}
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "write JSON")
	duration.Var(flags, &a.timeout, "timeout", 30*time.Second, "how long a request may take; what --wait waits for comes on top")
	flags.StringVar(&a.address, "address", "", "Temporal's host:port")
	flags.StringVar(&a.namespace, "namespace", "", "Temporal's namespace")
	flags.StringVar(&a.profile, "profile", "", "the profile of temporal.toml")
	flags.StringVar(&a.url, "url", "", "the edge's URL")
	root.AddCommand(
		a.listCommand(), a.reconcileCommand(), a.runsCommand(), a.driftCommand(),
		a.healthCommand(), a.auditCommand(), a.verifyRemovalsCommand(), a.acknowledgeCommand(), a.backupCommand(), a.emitCommand(), a.doctorCommand(), a.healthcheckCommand(), a.versionCommand(),
	)
	// These are about a store that is there, so they take the beginning of its id.
	root.AddCommand(a.onStore(a.statusCommand(), 1), a.onStore(a.historyCommand(), 1))
	root.AddCommand(a.onStore(a.pushCommand(), shortid.Least))
	for _, cmd := range []*cobra.Command{
		a.provisionCommand(), a.deleteCommand(), a.cancelDeleteCommand(), a.holdCommand(), a.releaseCommand(), a.pauseCommand(), a.resumeCommand(),
	} {
		cmd.ValidArgsFunction = a.completeIDs
		root.AddCommand(cmd)
	}
	return root
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show which build this is", Example: "  starter version --json", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				a.writeJSON(map[string]string{"version": build.Version, "go": runtime.Version()})
			} else {
				a.printf("starter %s (%s)\n", build.Version, runtime.Version())
			}
			return nil
		},
	}
}

// settings reads the environment; its error names the variable that is wrong. WEBHOOK_SECRET is left out: here it holds a sender's keys,
// and a receiver's settings may not have those. So are files of secrets that no command uses: the operator may not be allowed to read them.
func (a *app) settings() (*config.Config, error) {
	environ := slices.DeleteFunc(slices.Clone(a.Environ), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return name == webhookSecret || strings.HasSuffix(name, "_FILE") && name != edgeclient.BypassToken+"_FILE" && name != edgeclient.OwnToken+"_FILE"
	})
	cfg, err := config.Load(environ, config.RoleStarter)
	if err != nil {
		return nil, exit.Fail(exit.Usage, "usage", err.Error(), "correct the environment")
	}
	return cfg, nil
}

// spelling checks only the variables that every command reads. An operator must be able to cancel a deletion even if a variable of another
// program is wrong.
func (a *app) spelling() error {
	err := config.CheckSpelling(a.Environ, func(name string) bool { return strings.HasPrefix(name, "TEMPORAL_") || name == actorVariable })
	if err != nil {
		return exit.Fail(exit.Usage, "usage", err.Error(), "correct the environment")
	}
	return nil
}

// storeID checks the arguments of a command that takes one id and nothing else.
func storeID(_ *cobra.Command, args []string) error {
	switch {
	case len(args) != 1:
		return exit.UsageError(fmt.Sprintf("one store id is needed, not %d arguments", len(args)))
	case !storemanager.ValidID(args[0]):
		return exit.UsageError(fmt.Sprintf("%.80q can be no store id: 3 to 64 letters, digits, _ and -, the first a letter or digit", args[0]))
	}
	return nil
}

const (
	actorVariable = "STOREKEEPER_ACTOR"
	actorUsage    = "who (default $" + actorVariable + ", else the name or id of the user who runs this)"
)

// asker says who asks for something, and why: the flags --actor and --reason.
type asker struct{ actor, reason string }

// register defines the flags. why says when a reason is required.
func (by *asker) register(cmd *cobra.Command, why string) {
	cmd.Flags().StringVar(&by.reason, "reason", "", "why, for the audit trail "+why)
	cmd.Flags().StringVar(&by.actor, "actor", "", actorUsage)
}

// The ends of the help for --reason.
const (
	reasonRequired = "(required)"
	reasonOptional = "(optional)"
)

// trimReason checks the flags of an action that needs a reason.
func (a *app) trimReason(by *asker) error {
	by.reason = strings.TrimSpace(by.reason)
	if by.reason == "" {
		return exit.UsageError("--reason is needed: it is kept in the audit trail")
	}
	return a.nameActor(&by.actor)
}

// origin is who asks, for the audit trail.
func (by asker) origin(ctx context.Context) contract.Origin {
	return contract.Origin{
		Source: contract.SourceOperator, Actor: by.actor, Via: contract.ViaCLI, Reason: strings.TrimSpace(by.reason),
		RequestID: tracing.RequestID(ctx), TraceID: tracing.TraceID(ctx),
	}
}

// nameActor fills in who runs the CLI when no actor is given, or an empty one.
func (a *app) nameActor(actor *string) error {
	if *actor = strings.TrimSpace(*actor); *actor != "" {
		return nil
	}
	if err := a.spelling(); err != nil {
		return err
	}
	name, _ := a.lookup(actorVariable)
	*actor = cmp.Or(strings.TrimSpace(name), a.userName(os.Getuid()))
	return nil
}

// userName is never empty: containers and services often have neither USER nor an entry in /etc/passwd.
func (a *app) userName(uid int) string {
	for _, name := range []string{"USER", "LOGNAME"} {
		if value, _ := a.lookup(name); strings.TrimSpace(value) != "" {
			return strings.TrimSpace(value)
		}
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("uid %d", uid)
}

// edge returns the edge that the flag or the environment names. It has not been asked anything yet.
func (a *app) edge() (*edgeclient.Client, error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	if a.url != "" {
		if err := cfg.StorekeeperURL.UnmarshalText([]byte(a.url)); err != nil {
			return nil, exit.UsageError("--url is not accepted: " + err.Error())
		}
	}
	return edgeclient.New(cfg, a.timeout, a.transport), nil
}

// dial connects to Temporal.
func (a *app) dial(ctx context.Context) (*temporalclient.Connection, error) {
	if err := a.spelling(); err != nil {
		return nil, err
	}
	return temporalclient.Dial(ctx, temporalclient.Options{
		Environ: a.Environ, Address: a.address, Namespace: a.namespace, Profile: a.profile, Timeout: a.timeout,
	})
}

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
