package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"storekeeper/contract"
	"storekeeper/internal/cli/duration"
	"storekeeper/internal/cli/edgeclient"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/term"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/storemanager"
	"storekeeper/internal/storemanager/removals"
)

// auditLimit is how many entries people are shown when they don't say how many.
const auditLimit = 100

// auditFlags are what history and audit are asked for.
type auditFlags struct {
	storemanager.AuditQuery
	kinds, since, until string
	limit               int
}

func (a *app) historyCommand() *cobra.Command {
	var q auditFlags
	cmd := &cobra.Command{
		Use: "history ID", Short: "Show what was decided about a store, by whom and why",
		Long: `Show what the audit trail has about a store, newest first, also of one that is gone: what was decided, who or what asked for it, by which
way, and why. docs/audit.md explains the kinds and outcomes.

With --json an entry a line, oldest first, as they come: all of them, with their evidence.`,
		Example: "  starter history ws-1\n  starter history ws-1 --since 3d\n  starter history ws-1 --kind stop,deletion --json",
		Args:    storeID,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.audit(cmd, &q, "/stores/"+url.PathEscape(args[0])+"/history", true)
		},
	}
	q.register(cmd)
	return cmd
}

func (a *app) auditCommand() *cobra.Command {
	var q auditFlags
	cmd := &cobra.Command{
		Use: "audit", Short: "Show the audit trail: who did what, and what was decided",
		Long: `Show the audit trail, newest first: decisions about stores, pauses, approvals, runs and changed settings. What is given must all fit.

With --json an entry a line, oldest first, as they come: the export. docs/audit.md documents the fields.`,
		Example: "  starter audit --since 1d --actor ann\n  starter audit --kind hold,release --since 7d\n  starter audit --batch BATCH\n  starter audit --json > trail.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.StoreID != "" && !storemanager.ValidID(q.StoreID) {
				return exit.UsageError(fmt.Sprintf("--store %.80q can be no store id", q.StoreID))
			}
			return a.audit(cmd, &q, "/audit", false)
		},
	}
	q.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&q.StoreID, "store", "", "only about this store")
	flags.StringVar(&q.Actor, "actor", "", "only by this operator, or sender")
	flags.StringVar((*string)(&q.Source), "source", "", "only from: "+storemanager.Join(auditSources()))
	flags.StringVar(&q.RunID, "run", "", "only of this reconcile run")
	flags.StringVar(&q.Batch, "batch", "", "only of this bulk request")
	complete(cmd, "source", wordsOf(auditSources()))
	return cmd
}

func auditSources() []storemanager.Source {
	return []storemanager.Source{storemanager.SourceWebhook, storemanager.SourceOperator, storemanager.SourceReconcile, storemanager.SourceSystem}
}

func wordsOf[T ~string](words []T) []string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return texts
}

func (q *auditFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&q.since, "since", "", "only from then on: a duration such as 3d, or an RFC 3339 time")
	flags.StringVar(&q.until, "until", "", "only before then, likewise")
	flags.StringVar(&q.kinds, "kind", "", "only these kinds, with commas: "+storemanager.Join(storemanager.AuditKinds()))
	flags.IntVar(&q.limit, "limit", auditLimit, "at most so many (0: all; the default with --json, where they are the oldest)")
	complete(cmd, "kind", wordsOf(storemanager.AuditKinds()))
}

// check fills in the query, and fails on what can be none.
func (q *auditFlags) check() (err error) {
	if q.Since, err = momentOf("--since", q.since); err != nil {
		return err
	}
	if q.Until, err = momentOf("--until", q.until); err != nil {
		return err
	}
	q.Kinds = nil
	for kind := range strings.SplitSeq(q.kinds, ",") {
		kind := storemanager.AuditKind(strings.TrimSpace(kind))
		switch {
		case kind == "":
		case !slices.Contains(storemanager.AuditKinds(), kind):
			return exit.UsageError(fmt.Sprintf("--kind %.40q is not accepted: want some of %s", kind, storemanager.Join(storemanager.AuditKinds())))
		default:
			q.Kinds = append(q.Kinds, kind)
		}
	}
	switch {
	case q.Source != "" && !slices.Contains(auditSources(), q.Source):
		return exit.UsageError(fmt.Sprintf("--source %.40q is not accepted: want one of %s", q.Source, storemanager.Join(auditSources())))
	case q.limit < 0:
		return exit.UsageError("--limit must not be negative")
	}
	return nil
}

// momentOf reads a flag that is a time, or how long ago that was; zero for "".
func momentOf(flag, given string) (time.Time, error) {
	if given == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, given); err == nil {
		return at, nil
	}
	ago, err := duration.Parse(given)
	if err != nil || ago < 0 {
		return time.Time{}, exit.UsageError(fmt.Sprintf("%s %.40q is not accepted: want a duration such as 3d, or a time such as 2026-11-23T18:29:10Z", flag, given))
	}
	return time.Now().Add(-ago), nil
}

// audit shows entries out of the path. one says that all are of one store.
func (a *app) audit(cmd *cobra.Command, q *auditFlags, path string, one bool) error {
	if err := q.check(); err != nil {
		return err
	}
	e, err := a.edge()
	if err != nil {
		return err
	}
	q.OldestFirst = a.json
	if a.json && !cmd.Flags().Changed("limit") {
		q.limit = 0
	}
	if q.limit > 0 {
		q.Limit = min(q.limit, edgeclient.PageSize)
	}
	table := a.auditTable(one)
	count, more := 0, false
	err = auditPages(cmd.Context(), e, path, q.AuditQuery, func(page auditPage) (bool, error) {
		if left := q.limit - count; q.limit > 0 && len(page.Entries) >= left {
			more = len(page.Entries) > left || page.NextCursor != 0
			page.Entries = page.Entries[:left]
		}
		count += len(page.Entries)
		switch {
		case a.json:
			for _, raw := range page.Entries {
				a.print(string(raw) + "\n")
			}
		case len(page.Entries) > 0:
			entries, err := page.decoded(e)
			if err != nil {
				return false, err
			}
			a.print(table.Lines(auditRows(entries, one)))
		}
		return (q.limit == 0 || count < q.limit) && a.stdoutErr == nil, nil
	})
	switch {
	case err != nil:
		return err
	case count == 0 && !a.json:
		a.printf("no entries\n")
	case more && !a.json:
		a.tell("there are older ones: --limit 0 shows all\n")
	}
	return nil
}

// auditPage is a storemanager.AuditPage whose entries are left as the edge wrote them.
type auditPage struct {
	Entries    []json.RawMessage `json:"entries"`
	NextCursor int64             `json:"nextCursor"`
}

func (p auditPage) decoded(e *edgeclient.Client) ([]storemanager.AuditEntry, error) {
	entries := make([]storemanager.AuditEntry, len(p.Entries))
	for i, raw := range p.Entries {
		if json.Unmarshal(raw, &entries[i]) != nil {
			return nil, e.Unreachable("does not answer as Storekeeper does")
		}
	}
	return entries, nil
}

// auditPages calls yield with each page of entries. It stops when yield returns false or an error.
func auditPages(ctx context.Context, e *edgeclient.Client, path string, q storemanager.AuditQuery, yield func(auditPage) (more bool, err error)) error {
	q.Limit = cmp.Or(q.Limit, edgeclient.PageSize)
	for {
		var page auditPage
		switch err := e.Get(ctx, path+"?"+q.Values().Encode(), &page); {
		case errors.Is(err, edgeclient.ErrNotFound):
			return e.Unreachable("has no audit trail: it is older than this starter")
		case err != nil:
			return err
		}
		if more, err := yield(page); err != nil || !more || page.NextCursor == 0 || page.NextCursor == q.Cursor {
			return err
		}
		q.Cursor = page.NextCursor
	}
}

func (a *app) auditTable(one bool) *term.Table {
	columns := []term.Column{
		{Title: "TIME"},
		{Title: "KIND"},
		{Title: "OUTCOME", Least: 8},
		{Title: "STORE", Least: 8},
		{Title: "WHO", Least: 6},
		{Title: "VIA", Optional: 1},
		{Title: "WHY", Least: 8, Optional: 3},
		{Title: "DETAIL", Least: 10, Optional: 2},
	}
	if one {
		columns = slices.Delete(columns, 3, 4)
	}
	return &term.Table{Screen: a.screen(), Columns: columns}
}

func auditRows(entries []storemanager.AuditEntry, one bool) [][]term.Cell {
	rows := make([][]term.Cell, len(entries))
	for i, e := range entries {
		rows[i] = []term.Cell{
			{Text: e.At.UTC().Format(time.RFC3339)},
			{Text: text.Plain(string(e.Kind))},
			{Text: text.Plain(e.Outcome), Style: auditStyle(e)},
			{Text: text.Plain(e.StoreID)},
			{Text: text.Plain(whoAsked(e.Origin))},
			{Text: text.Plain(e.Via)},
			{Text: text.Plain(e.Reason)},
			{Text: text.Plain(e.Detail)},
		}
		if one {
			rows[i] = slices.Delete(rows[i], 3, 4)
		}
	}
	return rows
}

func auditStyle(e storemanager.AuditEntry) term.Style {
	switch {
	case e.Outcome == string(storemanager.StopStopped), e.Outcome == "failed", e.Outcome == "refused", e.Kind == storemanager.AuditLoss, e.Outcome == "keeps_back":
		return term.Red
	case e.Kind == storemanager.AuditDeletion && e.Outcome == "scheduled":
		return term.Yellow
	}
	return term.Plain
}

// whoAsked is an operator's name; of others, what they are, and who is behind that.
func whoAsked(o storemanager.Origin) string {
	if o.Source == storemanager.SourceOperator {
		return cmp.Or(o.Actor, "an operator")
	}
	return strings.TrimSpace(string(o.Source) + " " + o.Actor)
}

func (a *app) verifyRemovalsCommand() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use: "verify-removals", Short: "Judge every removal anew from the audit trail",
		Long: `Read the whole audit trail, and judge each stop of a store anew from its evidence: the grace period, the question to the Auth Worker, holds
and pins, and who or what asked for it. Exit code 5 if there is a stop that its evidence does not justify.

Stops that began before there was a trail can't be proven. They are counted apart, and don't change the exit code. --since leaves
out, of all of this, stops from before; the trail is read from its beginning all the same, for their evidence may be older.`,
		Example: "  starter verify-removals\n  starter verify-removals --since 30d --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := momentOf("--since", since)
			if err != nil {
				return err
			}
			return a.verifyRemovals(cmd.Context(), from)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only stops from then on: a duration such as 30d, or an RFC 3339 time")
	return cmd
}

func (a *app) verifyRemovals(ctx context.Context, since time.Time) error {
	e, err := a.edge()
	if err != nil {
		return err
	}
	report, err := a.judge(ctx, e, since)
	if err != nil {
		return err
	}
	if a.json {
		a.writeJSON(report)
	} else {
		a.printJudgement(report)
	}
	if n := len(report.Unjustified); n > 0 {
		return exit.Fail(exit.Refused, "unjustified", fmt.Sprintf("stops that their evidence does not justify: %d", n), "starter history ID shows what was decided about a store")
	}
	return nil
}

// judge reads the trail. The report is that of the stops since then.
func (a *app) judge(ctx context.Context, e *edgeclient.Client, since time.Time) (removals.Report, error) {
	var judge removals.Judge
	var read atomic.Int64
	stopsBefore, reached := 0, false
	stop := a.progress(ctx, "reading the audit trail", func(context.Context) *contract.Progress {
		return &contract.Progress{Phase: "entries read", Done: int(read.Load())}
	})
	err := auditPages(ctx, e, "/audit", storemanager.AuditQuery{OldestFirst: true}, func(page auditPage) (bool, error) {
		entries, err := page.decoded(e)
		if err != nil {
			return false, err
		}
		for _, entry := range entries {
			if !reached && !entry.At.Before(since) {
				stopsBefore, reached = judge.Report().Stops, true
			}
			judge.Add(entry)
			read.Add(1)
		}
		return true, nil
	})
	stop()
	report := judge.Report()
	if !reached {
		stopsBefore = report.Stops
	}
	report.Stops -= stopsBefore
	before := func(f removals.Finding) bool { return f.At.Before(since) }
	report.Unjustified, report.Unproven = slices.DeleteFunc(report.Unjustified, before), slices.DeleteFunc(report.Unproven, before)
	return report, err
}

func (a *app) printJudgement(r removals.Report) {
	switch {
	case r.Stops == 0:
		a.printf("no stops")
	case len(r.Unjustified) > 0:
		a.printf("%d stops, %d NOT justified by their evidence", r.Stops, len(r.Unjustified))
	case len(r.Unproven) > 0:
		a.printf("%d stops, each justified by what is known of it, %d not proven", r.Stops, len(r.Unproven))
	default:
		a.printf("%d stops, each justified by its evidence", r.Stops)
	}
	a.printf(" (%d entries read)\n", r.Entries)
	for _, f := range r.Unjustified {
		a.printf("\n%s  stopped %s, entry %d\n", f.StoreID, f.At.UTC().Format(time.RFC3339), f.Seq)
		for _, reason := range f.Reasons {
			a.printf("  %s\n", reason)
		}
		a.printf("  look: starter history %s\n", f.StoreID)
	}
	if len(r.Unproven) > 0 {
		a.printf("\nnot proven, for not all is known of them: %d\n", len(r.Unproven))
	}
	for _, f := range r.Unproven {
		a.printf("  %s  %s  %s\n", f.StoreID, f.At.UTC().Format(time.RFC3339), strings.Join(f.Reasons, "; "))
	}
}
