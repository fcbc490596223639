package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/backup"
	"storekeeper/internal/cli"
	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

// restoreFrom is the variable by which a child restores that backup, whatever is there.
const restoreFrom = "STOREKEEPER_TEST_RESTORE"

// starter runs a command of an operator, which must succeed.
func (c *child) starter(t *testing.T, args ...string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{Args: args, Stdout: &out, Stderr: &errs, Environ: []string{
		"USER=ann", "SERVER_BYPASS_TOKEN=" + standalone.DemoBypassToken, "STOREKEEPER_URL=" + c.EdgeURL, "TEMPORAL_ADDRESS=" + c.TemporalAddress,
		"TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "none.toml"),
	}})
	require.Zero(t, code, "%v: %s", args, errs.String())
}

// unhealthyBecause are the reasons of health.
func (c *child) unhealthyBecause() string {
	return fmt.Sprint(c.Edge(http.MethodGet, "/health").JSON("reasons"))
}

func (c *child) status(id string) any {
	return c.Edge(http.MethodGet, "/stores/"+id).JSON("orchestrator.status")
}

// story is what happens to an installation around its backup. The grace period is that of the settings; each of the workspaces has its order of events.
type story struct {
	dir, backup string
	due         time.Time // when the deletions that the backup has as pending ended

	// gone is deleted and stopped after the backup, which has it as monitored.
	gone string
	// held is deleted at the Auth Worker, its deletion is pending in the backup, and an operator has cancelled that since: it is held.
	held string
	// again has a deletion pending in the backup, and the Auth Worker has the workspace.
	again string
	// later is created after the backup.
	later string
	// going has a deletion that began after the backup, and that is far from due.
	going   string
	goingAt any
}

var graceOfStory = []string{"DELETION_GRACE_PERIOD=4s", "MANUAL_RECONCILE_MIN_INTERVAL_MS=0", "AUTH_LIST_MAX_AGE=1s"}

// tell makes it all happen, and kills the installation at its end, when all deletions of the backup are overdue.
func tell(t *testing.T) story {
	t.Helper()
	s := story{dir: t.TempDir(), backup: filepath.Join(t.TempDir(), "backup")}
	c := startChild(t, s.dir, graceOfStory...)
	user := c.SignUp()
	s.gone, s.held, s.again, s.going = user.Create(), user.Create(), user.Create(), user.Create()
	for _, id := range []string{s.gone, s.held, s.again, s.going} {
		c.Eventually("monitored", func() bool { return c.Monitored(id) })
	}
	user.Delete(s.held)
	c.Webhook("workspace.deleted", s.again, time.Now())
	for _, id := range []string{s.held, s.again} {
		c.Eventually("pending", func() bool {
			registry, lifecycle := deletion(c.Installation, id)
			return registry != nil && lifecycle != nil
		})
		registry, _ := deletion(c.Installation, id)
		var err error
		s.due, err = time.Parse(time.RFC3339Nano, registry.(string))
		require.NoError(t, err)
	}
	c.starter(t, "backup", s.backup)

	c.starter(t, "cancel-delete", s.held, "--reason", "still needed")
	c.starter(t, "cancel-delete", s.again, "--reason", "a mistake")
	c.starter(t, "delete", s.going, "--reason", "it is gone", "--grace", "1h")
	user.Delete(s.going)
	c.Eventually("pending", func() bool {
		registry, lifecycle := deletion(c.Installation, s.going)
		s.goingAt = registry
		return registry != nil && registry == lifecycle
	})
	user.Delete(s.gone)
	s.later = user.Create()
	c.Eventually("monitored", func() bool { return c.Monitored(s.later) })
	c.Eventually("stopped", func() bool { return c.status(s.gone) == "stopped" })
	c.Eventually("all that was pending is overdue", func() bool { return time.Now().After(s.due.Add(time.Second)) })
	c.kill()
	return s
}

// killWhileItBegins restores the backup and kills the process as soon as the files are in place.
func (s story) killWhileItBegins(t *testing.T) {
	t.Helper()
	cmd := proctest.Self(t.Context(), append([]string{
		"STOREKEEPER_TEST_RUN_STANDALONE=1", "STOREKEEPER_TEST_DATA_DIR=" + s.dir, "WORKSPACE_RECONCILE_INTERVAL_MS=86400000", restoreFrom + "=" + s.backup,
	}, graceOfStory...))
	logs := &proctest.Log{}
	cmd.Stderr = logs
	p := proctest.Start(t, cmd)
	require.Eventually(t, func() bool { return strings.Contains(logs.String(), "a backup was restored") }, harness.Patience, time.Millisecond)
	p.Kill()
}

// requireNothingStopped wants all that the backup has to be monitored, and that it stays so although the lists lack two of the stores.
func (s story) requireNothingStopped(t *testing.T, c *child) {
	t.Helper()
	all := []string{s.gone, s.held, s.again, s.going}
	for _, id := range all {
		require.True(t, c.Monitored(id))
	}
	c.Eventually("a run has added what was created since", func() bool { return c.Monitored(s.later) })
	require.Equal(t, http.StatusServiceUnavailable, c.Edge(http.MethodGet, "/health").Code)
	require.Contains(t, c.unhealthyBecause(), "the registry is its backup of 20")
	require.Contains(t, c.unhealthyBecause(), "no store is stopped before an operator acknowledges it (starter acknowledge)")
	for range 3 {
		r := c.Reconcile()
		require.EqualValues(t, 0, r.JSON("result.removed"), r.Body)
	}
	for _, id := range append(all, s.later) {
		require.True(t, c.Monitored(id), "nobody has agreed yet")
	}
}

// requireOrder wants what comes of the restored stores once an operator has agreed.
func (s story) requireOrder(t *testing.T, c *child) {
	t.Helper()
	c.starter(t, "hold", s.held, "--reason", "still needed") // the backup has no hold
	c.starter(t, "acknowledge", "--reason", "the holds are put back")
	c.Eventually("healthy", func() bool { return c.Edge(http.MethodGet, "/health").Code == http.StatusOK })
	c.Eventually("two lists from now on lack it, its grace period is over, and the Auth Worker has been asked", func() bool {
		c.Reconcile()
		return c.status(s.gone) == "stopped"
	})
	c.Eventually("the Auth Worker has it, so its deletion ends", func() bool {
		registry, lifecycle := deletion(c.Installation, s.again)
		return registry == nil && lifecycle == nil
	})
	for _, id := range []string{s.held, s.again, s.later} {
		require.True(t, c.Monitored(id))
	}
	require.Equal(t, "ann", c.Edge(http.MethodGet, "/stores/"+s.held).JSON("hold.actor"))
	for _, id := range []string{s.again, s.later} {
		shown := c.Edge(http.MethodGet, "/stores/"+id)
		require.Nil(t, shown.JSON("missingSince"), shown.Body)
	}
}

// The orders of events that could hurt (docs/operations.md), each with a process that is killed when the backup is in place, and once more when it works.
func TestARestoredBackupStopsNothingBeforeListsAndAnOperatorHaveAgreed(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.killWhileItBegins(t)
	c := startChild(t, s.dir, graceOfStory...)
	s.requireNothingStopped(t, c)
	c.kill()
	c = startChild(t, s.dir, graceOfStory...)
	s.requireNothingStopped(t, c)
	s.requireOrder(t, c)
	aside, err := filepath.Glob(filepath.Join(s.dir, "set-aside-*", "*"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(aside), 4, "what was there is kept")
}

func TestAPendingDeletionOfABackupHasTheTimeThatItHadLeft(t *testing.T) {
	t.Parallel()
	s := tell(t)
	began := time.Now()
	c := startChild(t, s.dir, append(graceOfStory, restoreFrom+"="+s.backup)...)
	manifest, err := backup.Read(s.backup)
	require.NoError(t, err)
	left := s.due.Sub(manifest.CreatedAt)
	require.Positive(t, left)
	registry, _ := deletion(c.Installation, s.held)
	deleteAt, err := time.Parse(time.RFC3339Nano, registry.(string))
	require.NoError(t, err)
	require.False(t, deleteAt.Before(began.Add(left-time.Second)), "%s are left, from %s on: %s", left, began, deleteAt)
	s.requireNothingStopped(t, c)
}

// As with a Temporal on PostgreSQL, or a registry whose disk was lost.
func TestARegistryThatAloneIsRestoredLearnsFromTemporalAndStopsNothing(t *testing.T) {
	t.Parallel()
	s := tell(t)
	lose(t, s.dir, "stores.db") // its mark stays
	content, err := os.ReadFile(filepath.Join(s.backup, backup.Registry))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, backup.Registry), content, 0o600)) // by hand
	c := startChild(t, s.dir, graceOfStory...)
	c.Eventually("a lifecycle has put back the deletion that began after the backup", func() bool {
		registry, _ := deletion(c.Installation, s.going)
		return registry == s.goingAt
	})
	s.requireNothingStopped(t, c)
	c.kill()
	c = startChild(t, s.dir, graceOfStory...)
	s.requireNothingStopped(t, c)
	s.requireOrder(t, c)
	registry, _ := deletion(c.Installation, s.going)
	require.Equal(t, s.goingAt, registry)
}

func TestATemporalThatAloneIsRestoredStopsNothingThatTheRegistryKnowsBetter(t *testing.T) {
	t.Parallel()
	s := tell(t)
	for _, name := range []string{backup.TemporalVisibility, backup.Temporal} {
		lose(t, s.dir, name)
		content, err := os.ReadFile(filepath.Join(s.backup, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), content, 0o600))
	}
	c := startChild(t, s.dir, graceOfStory...)
	c.Eventually("a deletion that Temporal has never heard of goes on at its own time", func() bool {
		registry, lifecycle := deletion(c.Installation, s.going)
		return registry == s.goingAt && lifecycle == s.goingAt
	})
	c.Eventually("the deletions that were cancelled end without a stop", func() bool {
		_, held := deletion(c.Installation, s.held)
		_, again := deletion(c.Installation, s.again)
		return held == nil && again == nil
	})
	for range 2 {
		c.Reconcile()
	}
	for _, id := range []string{s.held, s.again, s.later, s.going} {
		require.True(t, c.Monitored(id))
	}
	require.Equal(t, "stopped", c.status(s.gone))
	require.Equal(t, "still needed", c.Edge(http.MethodGet, "/stores/"+s.held).JSON("hold.reason"))
	c.Eventually("healthy", func() bool { return c.Edge(http.MethodGet, "/health").Code == http.StatusOK })
}
