package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"storekeeper/contract"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/shortid"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/storemanager"
)

// severalHelp ends the help of a command that takes several stores.
const severalHelp = `

Several stores (ids, --file, --from-run) are confirmed once, and asked for at the edge; the audit trail binds them by one batch. Exit code 8
when some failed.`

// targets are the flags that name stores beside the arguments.
type targets struct {
	file, run string
	yes       bool
}

func (t *targets) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.file, "file", "", "a file with a whole id a line, # begins a comment; - is stdin")
	flags.StringVar(&t.run, "from-run", "", "the stores that this reconcile run added or handed over for removal")
	flags.BoolVar(&t.yes, "yes", false, "do not ask before several stores are changed")
}

// given says whether the flags name stores.
func (t *targets) given() bool { return t.file != "" || t.run != "" }

// targeted are the stores that the arguments and flags name, each once; at least one.
func (a *app) targeted(ctx context.Context, t targets, verb string, args []string) ([]string, error) {
	ids, err := a.optionallyTargeted(ctx, t, verb, args)
	if err == nil && len(ids) == 0 {
		err = exit.UsageError("a store id is needed, or --file or --from-run")
	}
	return ids, err
}

// optionallyTargeted is targeted, but there are none when the arguments and flags name none at all. A file or run without stores is an error: it
// must not mean all stores.
func (a *app) optionallyTargeted(ctx context.Context, t targets, verb string, args []string) ([]string, error) {
	for _, id := range args {
		if err := storeID(nil, []string{id}); err != nil {
			return nil, err
		}
	}
	var all []string
	for _, id := range args {
		if len(id) >= shortid.Least { // a script that names a store which has gone must not meet another one
			full, err := a.fullID(ctx, id)
			if err != nil {
				return nil, err
			}
			id = full
		}
		all = append(all, id)
	}
	if t.file != "" {
		ids, err := a.idsOfFile(t)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	if t.run != "" {
		ids, err := a.idsOfRun(ctx, t.run, verb)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	if t.given() && len(all) == 0 {
		return nil, exit.Fail(exit.NotFound, "not_found", "there are no stores in "+text.Plain(strings.TrimSpace(t.file+" "+t.run)), "")
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	}), nil
}

// idsOfFile reads the ids of --file.
func (a *app) idsOfFile(t targets) ([]string, error) {
	in := a.Stdin
	if t.file != "-" {
		f, err := os.Open(t.file)
		if err != nil {
			return nil, exit.UsageError("--file can't be read: " + err.Error())
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	if in == nil {
		return nil, exit.UsageError("--file - wants ids on stdin")
	}
	var ids []string
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		id := strings.TrimSpace(line)
		switch {
		case id == "":
		case !storemanager.ValidID(id):
			return nil, exit.UsageError(fmt.Sprintf("line %d of --file, %.80q, can be no store id: nothing was done", n, id))
		default:
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, exit.UsageError("--file can't be read: " + err.Error())
	}
	return ids, nil
}

// idsOfRun are the stores of --from-run, out of the audit trail. Only what was handed over has a deletion to cancel.
func (a *app) idsOfRun(ctx context.Context, run, verb string) (ids []string, err error) {
	e, err := a.edge()
	if err != nil {
		return nil, err
	}
	q := storemanager.AuditQuery{RunID: run, Source: storemanager.SourceReconcile, Kinds: []storemanager.AuditKind{storemanager.AuditDeletion}, OldestFirst: true}
	if verb != "cancel-deletion" {
		q.Kinds = append(q.Kinds, storemanager.AuditEnsure)
	}
	taken := map[string]bool{"created": true, "adopted": true, "scheduled": true, "already_scheduled": true, "resumed": true}
	err = auditPages(ctx, e, "/audit", q, func(page auditPage) (bool, error) {
		entries, err := page.decoded(e)
		for _, entry := range entries {
			if taken[entry.Outcome] && entry.StoreID != "" {
				ids = append(ids, entry.StoreID)
			}
		}
		return true, err
	})
	return ids, err
}

// bulkResult is what a command about several stores writes with --json.
type bulkResult struct {
	Verb  string `json:"verb"`
	Batch string `json:"batch"`
	// Done, Accepted and Failed count the stores: Accepted are those whose outcome is not known yet. NotAsked are those that were not asked for any more,
	// because the edge could not be reached.
	Done     int                `json:"done"`
	Accepted int                `json:"accepted"`
	Failed   int                `json:"failed"`
	NotAsked int                `json:"notAsked"`
	Results  []api.ActionAnswer `json:"results"`
}

// bulk asks for the same of several stores. single are flags that go with one store alone.
func (a *app) bulk(cmd *cobra.Command, of targets, verb string, body api.ActionRequest, ids []string, single ...string) error {
	for _, flag := range single {
		if cmd.Flags().Changed(flag) {
			return exit.UsageError("--" + flag + " goes with one store alone")
		}
	}
	if err := a.confirm(of, cmd.Name(), ids); err != nil {
		return err
	}
	e, err := a.edge()
	if err != nil {
		return err
	}
	res := bulkResult{Verb: verb, Batch: uuid.NewString(), Results: []api.ActionAnswer{}}
	err = a.sendBulk(cmd.Context(), e, body, ids, &res)
	res.NotAsked = len(ids) - len(res.Results)
	if a.json {
		a.writeJSON(res)
	} else {
		for _, r := range res.Results {
			if r.Error != "" {
				a.tell("starter: %s: %s\n", text.Plain(r.InstanceID), text.Plain(r.Error))
			}
		}
		a.printf("%s: %d done, %d failed", cmd.Name(), res.Done, res.Failed)
		if res.Accepted > 0 {
			a.printf(", %d accepted, whose outcome is not known yet", res.Accepted)
		}
		if res.NotAsked > 0 {
			a.printf(", %d not asked for", res.NotAsked)
		}
		a.printf("; starter audit --batch %s\n", res.Batch)
	}
	switch {
	case err != nil:
		return err
	case res.Failed > 0:
		return exit.Fail(exit.Drift, "incomplete", fmt.Sprintf("%d of %d stores failed", res.Failed, len(ids)), "starter audit --batch "+res.Batch+" shows the rest")
	case res.Accepted > 0:
		return exit.NotYet(fmt.Sprintf("the events of %d stores are stored and will be worked off", res.Accepted), "starter audit --batch "+res.Batch)
	}
	return nil
}

const (
	// shownTargets are named when several stores are confirmed.
	shownTargets = 5
	// bulkBytes bounds the ids of one request: the edge takes no body over 64 KiB.
	bulkBytes = 48 << 10
	// bulkPatience is how long the edge may take for one store: it waits 10 s for an outcome, for 8 stores at a time.
	bulkPatience = 10 * time.Second / 8
)

// confirm asks once whether the stores are the right ones.
func (a *app) confirm(of targets, command string, ids []string) error {
	if of.yes {
		return nil
	}
	in, ok := a.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) || of.file == "-" {
		return exit.UsageError(fmt.Sprintf("%s of %d stores wants --yes where nobody can be asked", command, len(ids)))
	}
	shown := strings.Join(ids[:min(len(ids), shownTargets)], ", ")
	if more := len(ids) - shownTargets; more > 0 {
		shown += fmt.Sprintf(", and %d more", more)
	}
	a.tell("%s %d stores: %s\ngo on? [y/N] ", command, len(ids), text.Plain(shown))
	answer, _ := bufio.NewReader(in).ReadString('\n') // no answer is a no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return exit.Fail(exit.Usage, "not_confirmed", "nothing was done", "")
	}
	return nil
}

// sendBulk asks the edge, a part at a time.
func (a *app) sendBulk(ctx context.Context, e *edgeclient.Client, body api.ActionRequest, ids []string, res *bulkResult) error {
	var asked atomic.Int64
	total := len(ids)
	stop := a.progress(ctx, res.Verb, func(context.Context) *contract.Progress {
		return &contract.Progress{Phase: res.Verb, Done: int(asked.Load()), Total: total}
	})
	defer stop()
	for len(ids) > 0 {
		part := ids[:partOf(ids)]
		var answer api.BulkAnswer
		patient := *e
		patient.Timeout += time.Duration(len(part)) * bulkPatience
		err := patient.Do(ctx, http.MethodPost, "/admin/bulk", api.BulkRequest{ActionRequest: body, Verb: res.Verb, IDs: part, Batch: res.Batch}, &answer)
		switch {
		case errors.Is(err, edgeclient.ErrNotFound):
			return e.Unreachable("takes one store at a time: it is older than this starter")
		case err != nil:
			return err
		}
		for _, r := range answer.Results {
			res.count(r)
		}
		asked.Add(int64(len(part)))
		ids = ids[len(part):]
	}
	return nil
}

// partOf is how many of the ids go into one request.
func partOf(ids []string) int {
	size := 0
	for i, id := range ids {
		if size += len(id) + len(`"",`); i == storemanager.MaxBatch || size > bulkBytes {
			return i
		}
	}
	return len(ids)
}

// count adds what came of one store. What an operator of one store would be told as a failure is one here.
func (res *bulkResult) count(r api.ActionAnswer) {
	asked := map[string]contract.EventType{
		"provision": contract.WorkspaceCreated, "delete": contract.WorkspaceDeleted, "cancel-deletion": contract.StoreHold, "hold": contract.StoreHold,
		"release": contract.StoreRelease,
	}[res.Verb]
	if r.Error == "" && asked != "" {
		if f := refusalOf(asked, eventResult{InstanceID: r.InstanceID, Result: r.Result}); f != nil {
			r.Error = f.What
		}
	}
	switch {
	case r.Error != "":
		res.Failed++
	case r.Status == contract.StatusAccepted:
		res.Accepted++
	default:
		res.Done++
	}
	res.Results = append(res.Results, r)
}
