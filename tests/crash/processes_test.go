package crash_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
	"storekeeper/tests/proctest"
)

// layout is which processes an installation consists of. The names of the roles are in the order in which they start.
type layout struct {
	name  string
	roles []string
}

var (
	together = layout{"all roles in one process", []string{roleStandalone}}
	apart    = layout{"each role apart", []string{roleTemporal, roleManager, roleWorker, roleEdge}}
)

// installation are the processes of one, at addresses that they come back at.
type installation struct {
	t               *testing.T
	layout          layout
	dir             string
	edgeURL         string
	temporalAddress string
	processes       map[string]*child
}

// child is a role in a process of its own.
type child struct {
	name string
	env  []string
	log  string // a file, of all its lives

	mu     sync.Mutex
	cmd    *exec.Cmd // nil while it is down
	exited chan struct{}
	down   bool     // on purpose
	faults []string // how it ended without our doing
}

// startInstallation starts the processes with these settings, and stops them when the test ends. The registry must lie in dir.
func startInstallation(t *testing.T, l layout, dir string, auth *authWorker, settings ...string) *installation {
	t.Helper()
	in := &installation{t: t, layout: l, dir: dir, processes: map[string]*child{}}
	edgeAddress, managerAddress := freeAddress(t), freeAddress(t)
	in.edgeURL, in.temporalAddress = "http://"+edgeAddress, freeAddress(t)
	common := append([]string{
		envDataDir + "=" + dir, envTemporalListen + "=" + in.temporalAddress, "AUTH_WORKER_INTERNAL_URL=" + auth.url,
		"LOG_FORMAT=json",
	}, settings...)
	listen := map[string]string{roleStandalone: edgeAddress, roleEdge: edgeAddress, roleManager: managerAddress}
	for _, name := range l.roles {
		env := append([]string{envRole + "=" + name, envListen + "=" + listen[name]}, common...)
		if name == roleEdge || name == roleWorker {
			env = append(env, "TEMPORAL_ADDRESS="+in.temporalAddress, "STORE_MANAGER_URL=http://"+managerAddress)
		}
		in.processes[name] = &child{name: name, env: env, log: filepath.Join(dir, name+".log")}
	}
	t.Cleanup(func() {
		for _, c := range in.processes {
			c.kill()
			if t.Failed() {
				t.Logf("the last warnings of %s:\n%s", c.name, c.warnings(15))
			}
		}
	})
	for _, name := range l.roles {
		in.start(name)
	}
	in.awaitReady()
	return in
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := proctest.FreeAddress(t.Context())
	require.NoError(t, err)
	return address
}

func (in *installation) start(name string) {
	in.t.Helper()
	require.NoError(in.t, in.processes[name].start(""))
}

// awaitReady waits until the edge says that a webhook would be taken and worked off.
func (in *installation) awaitReady() {
	in.t.Helper()
	require.Eventually(in.t, in.ready, harness.Patience, 50*time.Millisecond, "%s: ready", in.layout.name)
}

func (in *installation) ready() bool { return in.edge("/readyz").Code == http.StatusOK }

// stop ends all processes as their supervisor would, edge first.
func (in *installation) stop() {
	in.t.Helper()
	for _, name := range slices.Backward(in.layout.roles) {
		in.processes[name].signal(syscall.SIGTERM, true)
	}
}

// ownEnds is how processes ended without having been told to.
func (in *installation) ownEnds() []string {
	var all []string
	for _, c := range in.processes {
		c.mu.Lock()
		all = append(all, c.faults...)
		c.mu.Unlock()
	}
	return all
}

// start starts the process. With a mine it is expected to end.
func (c *child) start(m mine) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	logs, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logs.Close() }() // the process has its own
	cmd := proctest.Self(context.Background(), append(slices.Clone(c.env), envMine+"="+string(m)))
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	c.cmd, c.exited, c.down = cmd, exited, m != ""
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.down {
			c.faults = append(c.faults, fmt.Sprintf("%s ended by itself: %v", c.name, err))
		}
		c.cmd = nil
		close(exited)
	}()
	return nil
}

// kill is kill -9. It returns when the process is dead.
func (c *child) kill() { c.signal(syscall.SIGKILL, true) }

// freeze stops the process in the middle of whatever it does, until thaw.
func (c *child) freeze() { c.signal(syscall.SIGSTOP, false) }
func (c *child) thaw()   { c.signal(syscall.SIGCONT, false) }

// signal sends a signal to the process, if it lives, and waits for the end that is expected of it.
func (c *child) signal(s syscall.Signal, ends bool) {
	c.mu.Lock()
	c.down = c.down || ends
	cmd, exited := c.cmd, c.exited
	c.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s)
	if ends {
		<-exited
	}
}

// dead says whether the process has ended.
func (c *child) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd == nil
}

// warnings are the last lines of the log that are no mere information.
func (c *child) warnings(lines int) string {
	text, _ := os.ReadFile(c.log)
	var found []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, `{"level":"info"`) {
			found = append(found, line[:min(len(line), 500)])
		}
	}
	return strings.Join(found[max(0, len(found)-lines):], "\n")
}

// pause waits for so long, or until the test ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// edge asks the edge with the token; code 0 when it does not answer.
func (in *installation) edge(path string) harness.Response {
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodGet, in.edgeURL+path, http.NoBody)
	if err != nil {
		return harness.Response{}
	}
	req.Header.Set("Authorization", "Bearer "+standalone.DemoBypassToken)
	return do(req)
}
