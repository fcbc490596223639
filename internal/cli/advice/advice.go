// Package advice says what to do about what /health says: a command, and the runbook where there is one.
package advice

import "strings"

// entry is what to do about reasons and warnings of a part that have these words.
type entry struct {
	part, words string
	// todo is what to do. runbook is a page of docs/runbooks, without its ending; "" for none.
	todo, runbook string
}

// entries: the first that fits counts. One without words is for whatever else its part may say.
var entries = []entry{
	{"temporal", "its database was of another version", "nothing: only histories stay behind, in the file that was set aside", ""},
	{"temporal", "", "see that Temporal runs and its disk has room: starter doctor", "StorekeeperTemporalUnreachable"},
	{"workers", "", "start cmd/worker, or see why it does not poll: starter doctor", "StorekeeperNoWorkerPolls"},
	{"backlog", "", "start more workers, and see what they wait for: starter doctor", "StorekeeperEventBacklog"},
	{"storeManager", "", "see that the store manager runs: starter doctor", "StorekeeperStoreManagerUnreachable"},
	{"authWorker", "refused the token", "SERVER_BYPASS_TOKEN must be one that the Auth Worker knows: starter doctor", "StorekeeperTokenRefused"},
	{"authWorker", "list is damaged", "look at the list itself: starter doctor, starter runs", "StorekeeperImplausibleList"},
	{"authWorker", "comes out of a cache", "have no cache between here and the Auth Worker", "StorekeeperImplausibleList"},
	{"authWorker", "", "see that the Auth Worker answers: starter doctor", "StorekeeperReconcileFails"},
	{"registry", "it was lost", "put the holds back, then: starter acknowledge --reason R", "StorekeeperRegistryLost"},
	{"registry", "", "see that the store manager runs: starter doctor", "StorekeeperStoreManagerUnreachable"},
	{"connections", "no store is connected", "see that the sync backend runs: starter doctor", "StorekeeperSyncBackendLost"},
	{"connections", "monitored stores", "starter list --sort connection shows which, and why", "StorekeeperStoresNotConnected"},
	{"connections", "strangers' are closed", "have a proxy before the edge keep strangers away, or see who opens so many", ""},
	{"connections", "", "see that the store manager runs: starter doctor", "StorekeeperStoreManagerUnreachable"},
	{"reconciliation", "the schedule is paused", "starter pause shows who and why; starter resume --reason R ends it", "StorekeeperForgottenPause"},
	{"reconciliation", "no successful run", "starter runs shows why; starter reconcile --wait tries again", "StorekeeperNoReconcileRun"},
	{"reconciliation", "takes longer than the interval", "starter runs --watch; raise WORKSPACE_RECONCILE_INTERVAL_MS if it stays so", ""},
	{"reconciliation", "are paused until", "starter pause shows all; starter resume --reason R ends it", "StorekeeperForgottenPause"},
	{"reconciliation", "is paused until", "starter resume ID --reason R ends it", "StorekeeperForgottenPause"},
	{"reconciliation", "paused stores", "starter list --state paused", "StorekeeperForgottenPause"},
	{"reconciliation", "the guard holds back removals", "starter reconcile --plan shows them; if they are right, approve exactly that: starter reconcile --apply HASH --reason R", "StorekeeperGuardKeepsBack"},
	{"reconciliation", "in case alone", "give the workspace another id at the Auth Worker, or remove the store: starter status ID", ""},
	{"reconciliation", "newer deletions are known", "if the workspaces are there: starter provision ID", ""},
	{"reconciliation", "could not be added", "the next run tries again; starter runs shows why", "StorekeeperProvisioningFails"},
	{"reconciliation", "could not be handed over", "the next run tries again; see that Temporal runs: starter doctor", "StorekeeperReconcileFails"},
	{"reconciliation", "", "starter runs shows why", "StorekeeperNoReconcileRun"},
	{"deletions", "are overdue", "see that the Auth Worker and the store manager answer: starter doctor, starter list --state deletion_pending", "StorekeeperDeletionOverdue"},
	{"deletions", "have no lifecycle", "starter reconcile --wait has them go on", ""},
	{"versions", "the processes are of", "give all processes one version, then: starter resume --reason R", ""},
	{"clocks", "set both by NTP", "see timedatectl on both machines", ""},
	{"disk", "is free", "make room on the disk of the databases: docs/operations.md", "StorekeeperDiskNearlyFull"},
	{"secrets", "is refused", "correct the file, or see docs/rotation.md", ""},
	{"webhooks", "are under way", "senders try again; if it stays so, see what the edge waits for: starter doctor", "StorekeeperEventBacklog"},
	{"webhooks", "can't be remembered", "see that the store manager's disk has room: starter doctor", "StorekeeperStoreManagerUnreachable"},
}

// For is what to do about a reason or warning of /health; of a newer edge's that is not known here, to look closer.
func For(line string) string {
	e := find(line)
	if e == nil {
		return "starter doctor says more"
	}
	if e.runbook == "" {
		return e.todo
	}
	return e.todo + " (docs/runbooks/" + e.runbook + ".md)"
}

// find is nil if nothing fits.
func find(line string) *entry {
	part, words, _ := strings.Cut(line, ": ")
	for i := range entries {
		if e := &entries[i]; e.part == part && strings.Contains(words, e.words) {
			return e
		}
	}
	return nil
}
