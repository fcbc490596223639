package edgetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Dial is for requests that no client would send.
func Dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// Head sends the head of a webhook; length is the header that says how long the body is.
func Head(t *testing.T, conn net.Conn, length string) {
	t.Helper()
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: edge\r\nX-Webhook-Secret: %s\r\nContent-Type: application/json\r\n%s\r\n\r\n", Webhooks, Secret, length)
	require.NoError(t, err)
}

// ReadStatus reads an answer.
func ReadStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// RequireClosed wants the other side to have closed the connection.
func RequireClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := io.ReadAll(conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}
