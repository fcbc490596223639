package httpclient_test

import (
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"storekeeper/internal/httpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// link is a TCP proxy whose connections can go silent: then nothing passes any more in either direction, and nothing tells so.
type link struct {
	net.Listener
	to string

	mu    sync.Mutex
	ends  []net.Conn
	quiet chan struct{} // closed when the connections that there are go silent
	made  int
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	k := &link{Listener: l, to: to, quiet: make(chan struct{})}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { k.carry(t.Context(), client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		k.mu.Lock()
		for _, c := range k.ends {
			_ = c.Close()
		}
		k.mu.Unlock()
		served.Wait()
	})
	return k
}

func (k *link) carry(ctx context.Context, client net.Conn) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", k.to)
	if err != nil {
		_ = client.Close()
		return
	}
	k.mu.Lock()
	k.ends = append(k.ends, client, server)
	k.made++
	quiet := k.quiet
	k.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			buffer := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buffer)
				select {
				case <-quiet:
					if err != nil {
						return
					}
					continue // what was sent is lost
				default:
				}
				if err != nil {
					_ = way[1].Close()
					return
				}
				_, _ = way[1].Write(buffer[:n])
			}
		})
	}
	both.Wait()
}

// silence makes the connections that there are go silent. New ones pass.
func (k *link) silence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.quiet)
	k.quiet = make(chan struct{})
}

func (k *link) connections() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.made
}

func TestADeadHTTP2ConnectionIsGivenUpForANewOne(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	way := newLink(t, server.Listener.Addr().String())

	transport := httpclient.Transport()
	transport.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
	transport.HTTP2.SendPingTimeout, transport.HTTP2.PingTimeout = 100*time.Millisecond, 100*time.Millisecond // as they are it would take 10 s
	t.Cleanup(transport.CloseIdleConnections)
	ask := func() (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+way.Addr().String(), http.NoBody)
		require.NoError(t, err)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	answer, err := ask()
	require.NoError(t, err)
	require.Equal(t, "HTTP/2.0", answer)

	way.silence()
	require.Eventually(t, func() bool {
		answer, err := ask()
		return err == nil && answer == "HTTP/2.0"
	}, time.Minute, 10*time.Millisecond, "it is asked on the dead connection")
	require.Equal(t, 2, way.connections())
}

// byHand make transports of their own: a WebSocket's connection is no HTTP/2, and the notifier is a library that others take along alone.
var byHand = []string{"internal/httpclient", "internal/livestore", "internal/tunnel", "notifier", "tests"}

func TestNoClientMakesItsTransportByHand(t *testing.T) {
	t.Parallel()
	files := 0
	require.NoError(t, fs.WalkDir(os.DirFS("../.."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(byHand, path):
			return fs.SkipDir
		case filepath.Ext(path) != ".go", strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		text, err := os.ReadFile(filepath.Join("../..", path))
		require.NotContains(t, string(text), "http.Transport{", "%s: use httpclient.Transport", path)
		require.NotContains(t, string(text), "http.DefaultTransport", "%s: use httpclient.Transport", path)
		require.NotContains(t, string(text), "http.DefaultClient", "%s: use httpclient.Transport", path)
		for _, client := range strings.SplitAfter(string(text), "http.Client{")[1:] { // one without a transport has the default one
			require.Contains(t, client[:min(len(client), 300)], "ransport", "%s: a client without a transport; use httpclient.Transport", path)
		}
		return err
	}))
	require.Greater(t, files, 100)
}

func TestEveryTransportLooksAfterItsConnections(t *testing.T) {
	t.Parallel()
	transport := httpclient.Transport()
	require.Positive(t, transport.HTTP2.SendPingTimeout)
	require.Positive(t, transport.HTTP2.PingTimeout)
	require.Positive(t, transport.HTTP2.WriteByteTimeout)
	require.Nil(t, transport.Proxy)
	require.NotNil(t, httpclient.Through(transport).Proxy)
	require.NotSame(t, transport, httpclient.Transport(), "each may be changed")
}
