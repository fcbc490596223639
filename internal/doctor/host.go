package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"storekeeper/internal/httpclient"
)

// OpenFiles checks that the process may have so many files and connections open.
func OpenFiles(needed int) Result {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return Unknown("the limit of open files can't be read", "")
	}
	if limit.Cur < uint64(max(needed, 0)) {
		return Failed(fmt.Sprintf("%d files may be open, and %d are needed", limit.Cur, needed),
			"raise it: LimitNOFILE= of systemd, --ulimit nofile= of containers, ulimit -n of a shell; then restart")
	}
	return OK(fmt.Sprintf("%d may be open, %d are needed", limit.Cur, needed))
}

// Private checks that nobody but the owner can read the files. One that is not there is left out.
func Private(paths ...string) Result {
	var open []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return Failed(fmt.Sprintf("%s can't be looked at", path), "let the user that the process runs as read it")
		case info.Mode().Perm()&0o077 != 0:
			open = append(open, fmt.Sprintf("%s (%s)", path, info.Mode().Perm()))
		}
	}
	if len(open) > 0 {
		return Failed("others can read "+strings.Join(open, ", "), "chmod go-rwx them: they hold ids, names and reasons")
	}
	return OK("only the owner can read them")
}

// Names checks that the hosts are known. Addresses are.
func Names(ctx context.Context, hosts ...string) Result {
	slices.Sort(hosts)
	var unknown []string
	for _, host := range slices.Compact(hosts) {
		if host == "" || net.ParseIP(host) != nil {
			continue
		}
		if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil {
			unknown = append(unknown, host)
		}
	}
	if len(unknown) > 0 {
		return Failed("not known: "+strings.Join(unknown, ", "), "correct the names in the settings, or the DNS (/etc/resolv.conf, /etc/hosts)")
	}
	return OK("all are known")
}

// maxSkew is how far two clocks may differ. An event may be from 5 minutes ahead, and an answer of the Auth Worker from 5 seconds.
const maxSkew = 2 * time.Second

// Clock compares another's clock with this one's. asked and answered are when it was asked by this one's clock, and resolution is how exact
// theirs is.
func Clock(whose string, theirs, asked, answered time.Time, resolution time.Duration) Result {
	ahead, behind := theirs.Sub(answered), asked.Sub(theirs.Add(resolution))
	skew := max(ahead, behind)
	if skew <= maxSkew {
		return OK("differs by less than " + maxSkew.String())
	}
	way := "ahead of"
	if behind > ahead {
		way = "behind"
	}
	return Failed(fmt.Sprintf("the clock of %s is %s %s this one (%s)", whose, skew.Round(100*time.Millisecond), way, answered.UTC().Format(time.RFC3339)),
		"have both machines keep time (chrony, systemd-timesyncd): events from the future are refused, and no store is stopped on an answer that seems old")
}

// ServerClock compares the clock of a server, by the Date of its answer, whatever that is. It sends nothing secret.
func ServerClock(ctx context.Context, whose, url string) Result {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, http.NoBody)
	if err != nil {
		return Unknown("the URL can't be asked", "")
	}
	transport := httpclient.Transport()
	defer transport.CloseIdleConnections()
	client := http.Client{
		Transport:     httpclient.Through(transport),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	asked := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return Unknown(whose+" can't be reached", "")
	}
	_ = resp.Body.Close()
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return Unknown(whose+" does not say its time", "")
	}
	return Clock(whose, at, asked, time.Now(), time.Second)
}
