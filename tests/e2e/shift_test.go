package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/demo"
	"storekeeper/internal/storemanager"
	"storekeeper/tests/harness"
)

// Each part of the shift leaves the system as it should be. In each, one command shows what is wrong and the command that mends it.
func TestAnOperatorsShiftIsMendedByWhatTheFirstScreenSays(t *testing.T) {
	t.Parallel()
	s := startShift(t)
	user := s.SignUp()
	s.Eventually("monitored", func() bool { return s.monitored(user.Default) })

	s.bringsBackWhatWasDeletedByMistake(user)
	s.sitsOutAnEmptyList(user)
	s.approvesSixtyRemovals()
	s.endsAPauseThatSomebodyForgot()
	s.rotatesATokenThatIsRefused()
	s.startsTheWorkersAgain(user)
	s.findsAStoreThatDoesNotConnect(user)
	s.rotatesASecret()
	s.restoresABackup(user)
	s.endsWell()
}

func (s *shift) bringsBackWhatWasDeletedByMistake(user *harness.User) {
	named := user.CreateNamed("The Archive of Ann")
	mistake := user.Create()
	s.Eventually("monitored", func() bool { return s.monitored(named) && s.monitored(mistake) })
	user.Delete(mistake)
	byOwner := func() screen { return s.run("list", "--owner", "archive of ann") } // all that the caller knows
	first := s.shows(byOwner, mistake, "deletion_pending", "to be stopped at", "starter cancel-delete "+mistake)
	require.Contains(s.T, first.text, user.ID)
	s.obeys(first, "starter cancel-delete "+mistake+" --reason R", "deleted by mistake")
	s.owes(storemanager.AuditHold, "deleted by mistake")
	last := s.shows(byOwner, "held by alice", "deleted by mistake")
	require.NotContains(s.T, last.text, "deletion_pending")
	require.True(s.T, s.monitored(mistake))
}

func (s *shift) sitsOutAnEmptyList(user *harness.User) {
	for range 12 { // enough of them to be implausible
		id := s.SignUp().Default
		s.Eventually("monitored", func() bool { return s.monitored(id) })
	}
	s.auth.SetFault(demo.FaultEmpty)
	s.run("reconcile", "--wait")
	first := s.shows(s.health, "the guard holds back removals", "list is empty", "starter reconcile --plan")
	require.Contains(s.T, s.obeys(first, "starter reconcile --plan", "").text, "look at the Auth Worker's list")
	s.auth.SetFault(demo.FaultNone) // which its operators do
	require.Zero(s.T, s.run("reconcile", "--wait").code)
	require.NotContains(s.T, s.health().text, "list is empty")
	require.True(s.T, s.monitored(user.Default))
}

func (s *shift) approvesSixtyRemovals() {
	leaving := s.SignUp()
	ids := []string{leaving.Default}
	for range 59 {
		ids = append(ids, uuid.NewString())
		s.admin(http.MethodPost, "/users/"+leaving.ID+"/instances", fmt.Sprintf(`{"instanceId":%q}`, ids[len(ids)-1]))
	}
	require.Zero(s.T, s.run("reconcile", "--wait").code)
	require.True(s.T, s.monitored(ids[59]))
	s.admin(http.MethodDelete, "/users/"+leaving.ID, "")
	for range 2 {
		s.run("reconcile", "--wait")
	}
	first := s.shows(s.health, "the guard holds back removals", "lacks 60 stores")
	plan := s.obeys(first, "starter reconcile --plan", "")
	require.Contains(s.T, plan.text, ids[30])
	approve := regexp.MustCompile(`starter reconcile --apply [0-9a-f]{16} --reason R`).FindString(plan.text)
	require.NotEmpty(s.T, approve, plan.text)
	s.obeys(plan, approve, "the customer has left")
	s.owes(storemanager.AuditApproval, "the customer has left")
	for _, id := range ids {
		s.Eventually("stopped", func() bool { return s.store(id).JSON("orchestrator.status") == "stopped" })
		history := s.edge(http.MethodGet, "/stores/"+id+"/history", "").Body
		require.Contains(s.T, history, `"actor":"alice"`)
		require.Contains(s.T, history, `"reason":"the customer has left"`)
	}
	require.Contains(s.T, s.health().text, "guard      keeps nothing back")
}

func (s *shift) endsAPauseThatSomebodyForgot() {
	s.togglePause()
	first := s.shows(s.health, "the schedule is paused")
	s.obeys(first, "starter resume --reason R", "it was forgotten")
	s.owes(storemanager.AuditResume, "it was forgotten")
	s.shows(s.health, "pauses     none")
}

func (s *shift) rotatesATokenThatIsRefused() {
	for _, other := range []string{"Auth Worker", "sync backend"} {
		s.others[other].set(rotated["SERVER_BYPASS_TOKEN"].next)
	}
	require.Zero(s.T, s.run("reconcile").code)
	s.shows(s.health, "the Auth Worker refused the token", "SERVER_BYPASS_TOKEN", "starter doctor")
	require.Contains(s.T, s.run("doctor").text, "refused the token")
	for who := range ours {
		s.write(s.T, s.file(who, "SERVER_BYPASS_TOKEN"), rotated["SERVER_BYPASS_TOKEN"].next)
	}
	for who := range ours {
		s.Eventually(who+" has the new one", func() bool { return s.reloads(who, "SERVER_BYPASS_TOKEN") > 0 })
	}
	require.Zero(s.T, s.run("reconcile", "--wait").code)
	s.becomesHealthy()
}

func (s *shift) startsTheWorkersAgain(user *harness.User) {
	s.restart("worker", func() {
		s.shows(s.health, "no worker", "start cmd/worker")
	})
	s.becomesHealthy()
	id := user.Create()
	s.Eventually("monitored", func() bool { return s.monitored(id) })
}

func (s *shift) findsAStoreThatDoesNotConnect(user *harness.User) {
	s.sync.SetFault(demo.SyncFaultRefuse)
	id := user.Create()
	first := s.shows(s.health, "monitored stores: disconnected", "starter list --sort connection")
	found := s.obeys(first, "starter list --sort connection", "")
	require.Contains(s.T, found.text, id)
	require.Contains(s.T, found.text, "503")
	s.sync.SetFault(demo.SyncFaultNone) // which its operators do
	s.Eventually("connected", func() bool { return s.store(id).JSON("status") == "connected" })
}

func (s *shift) rotatesASecret() {
	file, secret := s.file("edge", "WEBHOOK_SECRET"), rotated["WEBHOOK_SECRET"]
	s.write(s.T, file, "")
	s.shows(s.health, "WEBHOOK_SECRET", "docs/rotation.md")
	s.write(s.T, file, secret.next)
	s.Eventually("the new one is taken", func() bool { return s.webhook(secret.next) == http.StatusOK })
	require.NotContains(s.T, s.health().text, "WEBHOOK_SECRET")
	require.Equal(s.T, http.StatusUnauthorized, s.webhook(secret.old))
}

// webhook sends an event with the secret, and returns the status of its answer.
func (s *shift) webhook(secret string) int {
	resp, err := http.DefaultClient.Do(s.created(uuid.NewString())(secret))
	require.NoError(s.T, err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (s *shift) restoresABackup(user *harness.User) {
	dir := filepath.Join(s.T.TempDir(), "backup")
	did := s.run("backup", dir)
	require.Zero(s.T, did.code, did.text)
	s.restart("store manager", func() {}, restoreFrom+"="+dir)
	first := s.shows(s.health, "the registry is its backup of", "starter acknowledge")
	s.obeys(first, "starter acknowledge --reason R", "restored on purpose")
	s.owes(storemanager.AuditAcknowledge, "restored on purpose")
	s.becomesHealthy()
	require.True(s.T, s.monitored(user.Default))
}
