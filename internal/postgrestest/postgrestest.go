// Package postgrestest runs PostgreSQL clusters from the installed binaries, for tests and benchmarks. A cluster ends when the process that
// started it ends, in whatever way.
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const (
	// User is the superuser of a cluster. Password is the user's password: it must be escaped in a URL, and can be searched for.
	User     = "storekeeper"
	Password = "only for tests: 100%/@?#"

	patience = time.Minute
)

// Cluster is a PostgreSQL server on a port of the loopback interface, with its data in a temporary directory.
type Cluster struct {
	bin, dir string
	port     int
	settings []string
	running  *exec.Cmd // nil while it is stopped
	stdin    io.Closer // closing it ends the server
}

// ErrMissing: PostgreSQL is not installed.
var ErrMissing = errors.New("PostgreSQL is not installed: apt-get install postgresql (without a cluster of its own: " +
	"echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf before)")

// Start starts a cluster and ends it with the test. Without PostgreSQL the test is skipped, or fails if POSTGRES is set.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return StartIn(t, "", settings...)
}

// StartIn is like Start, and keeps the data under dir ("" is the directory for temporary files).
func StartIn(t testing.TB, dir string, settings ...string) *Cluster {
	t.Helper()
	c, err := New(t.Context(), dir, settings...)
	if errors.Is(err, ErrMissing) && os.Getenv("POSTGRES") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(c.Remove)
	return c
}

// New starts a cluster with these settings (such as "fsync=off") and its data under dir ("" is the directory for temporary files). The
// caller must call Remove.
func New(ctx context.Context, dir string, settings ...string) (_ *Cluster, err error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, settings: settings}
	if c.dir, err = os.MkdirTemp(dir, "pg"); err != nil { // a short name, because the path of a socket must be short
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Remove()
		}
	}()
	owner, err := unprivileged()
	if err != nil {
		return nil, err
	}
	passwords := filepath.Join(c.dir, "password")
	if err := os.WriteFile(passwords, []byte(Password+"\n"), 0o600); err != nil {
		return nil, err
	}
	if owner != nil {
		err := errors.Join(os.Chown(c.dir, int(owner.Uid), int(owner.Gid)), os.Chown(passwords, int(owner.Uid), int(owner.Gid)))
		if err != nil {
			return nil, err
		}
	}
	initdb := c.command(ctx, owner, filepath.Join(bin, "initdb"), "--pgdata", c.data(), "--username", User, "--pwfile", passwords,
		"--auth-local", "trust", "--auth-host", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if c.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// find looks for the binaries where Debian puts them, and then in PATH.
func find() (string, error) {
	if installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(installed) > 0 {
		return filepath.Dir(slices.MaxFunc(installed, strings.Compare)), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrMissing
}

// unprivileged is the user that root runs the server as, because PostgreSQL refuses to run as root. It is nil when this process is not
// root's.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // there is nobody to name
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err, err2)
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(ctx context.Context, owner *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // binaries of the machine
	cmd.Dir, cmd.Env = c.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	return cmd
}

// Start starts the server again on the same port, and returns once it takes connections.
func (c *Cluster) Start(ctx context.Context) error {
	owner, err := unprivileged()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args := []string{
		"-c", `"$@" & server=$!; cat; kill -INT $server; wait $server`, "sh", filepath.Join(c.bin, "postgres"), "-D", c.data(),
		"-h", "127.0.0.1", "-p", strconv.Itoa(c.port), "-k", c.dir,
	}
	for _, setting := range c.settings {
		args = append(args, "-c", setting)
	}
	var log bytes.Buffer
	c.running = c.command(ctx, owner, "sh", args...) // the shell ends the server when this process, and so its pipe, is gone
	c.running.Stdout, c.running.Stderr = &log, &log
	if c.stdin, err = c.running.StdinPipe(); err != nil {
		return err
	}
	if err := c.running.Start(); err != nil {
		return err
	}
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			c.Stop()
			return fmt.Errorf("PostgreSQL did not start: %w\n%s", err, log.Bytes())
		}
	}
}

// Stop ends the connections and shuts the server down in an orderly way. It does nothing when the server is stopped.
func (c *Cluster) Stop() {
	if c.running == nil {
		return
	}
	_ = c.stdin.Close()
	_ = c.running.Wait()
	c.running = nil
}

// Remove stops the server and removes its data.
func (c *Cluster) Remove() {
	c.Stop()
	_ = os.RemoveAll(c.dir)
}

// URL is the URL of a database, with the name and password of the superuser.
func (c *Cluster) URL(database string) string {
	return c.URLOf(url.UserPassword(User, Password), database)
}

// URLOf is like URL, for another user.
func (c *Cluster) URLOf(who *url.Userinfo, database string) string {
	u := url.URL{
		Scheme: "postgres", User: who, Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Exec runs the statements in a database, in their order, and stops at the first error.
func (c *Cluster) Exec(ctx context.Context, database string, statements ...string) error {
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// Query returns the first column of the first row, as text.
func (c *Cluster) Query(ctx context.Context, database, query string) (text string, err error) {
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	return text, conn.QueryRow(ctx, query).Scan(&text)
}
