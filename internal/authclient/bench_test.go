package authclient_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/authclient"
	"storekeeper/internal/httpclient"
)

// BenchmarkSortedList fetches a list of ENTRIES (100,000) over HTTP: "floor" merely fetches and tokenizes it, "sorted" is Sorted and
// one reading. It prints entries/s, how many MiB the resident memory grew by at most, and the ratio of the two times.
func BenchmarkSortedList(b *testing.B) {
	entries := 100_000
	if text := os.Getenv("ENTRIES"); text != "" {
		var err error
		entries, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	server := httptest.NewServer(longList(entries))
	b.Cleanup(server.Close)
	var floor float64
	measure := func(b *testing.B, once func()) float64 {
		once() // warms connections up
		debug.FreeOSMemory()
		before := resident(b, "VmRSS:")
		resetPeak()
		for b.Loop() {
			once()
		}
		b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		b.ReportMetric(float64(resident(b, "VmHWM:")-before)/1024, "MiB-grown")
		return b.Elapsed().Seconds() / float64(b.N)
	}
	b.Run("floor", func(b *testing.B) {
		floor = measure(b, func() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, server.URL, nil)
			require.NoError(b, err)
			resp, err := server.Client().Do(req)
			require.NoError(b, err)
			defer resp.Body.Close()
			d := jsontext.NewDecoder(bufio.NewReaderSize(resp.Body, 64<<10))
			for err == nil {
				_, err = d.ReadToken()
			}
			require.ErrorIs(b, err, io.EOF)
		})
	})
	b.Run("sorted", func(b *testing.B) {
		c, err := authclient.New(authclient.Options{BaseURL: server.URL, Token: httpclient.Fixed(token), HTTPClient: server.Client(), SpillDir: b.TempDir()})
		require.NoError(b, err)
		took := measure(b, func() {
			l, err := c.Sorted(b.Context(), nil)
			require.NoError(b, err)
			n := 0
			for _, err := range l.All() {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			require.Equal(b, entries, n)
			require.NoError(b, l.Close())
		})
		if floor > 0 {
			b.ReportMetric(took/floor, "x-floor")
		}
	})
}

// longList answers with entries of the usual size, in no order. It makes them while it sends, to save memory.
func longList(entries int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriterSize(w, 64<<10)
		_, _ = out.WriteString(`{"workspaces":[`)
		for i := range entries {
			if i > 0 {
				_ = out.WriteByte(',')
			}
			_, _ = out.WriteString(`{"instanceId":"`)
			writeUUID(out, uint64(i))
			_, _ = out.WriteString(`","userId":"`)
			writeUUID(out, uint64(i/3))
			_, _ = out.WriteString(`","name":"Some workspace","createdAt":"2026-11-23T18:29:10.028Z","lastAccessedAt":"2026-11-23T18:29:10.028Z","isDefault":false}`)
		}
		_, _ = fmt.Fprintf(out, `],"metadata":{"totalUsers":%d,"totalWorkspaces":%d}}`, (entries+2)/3, entries)
		_ = out.Flush()
	})
}

// writeUUID writes the n-th of a series of different UUIDs.
func writeUUID(out *bufio.Writer, n uint64) {
	const digits = "0123456789abcdef"
	high := n * 0x9e3779b97f4a7c15 // odd, so no two are equal
	var text [36]byte
	for i := range text {
		text[i] = digits[high>>(i%16*4)&15]
	}
	text[8], text[13], text[18], text[23], text[14] = '-', '-', '-', '-', '4'
	_, _ = out.Write(text[:])
}

// resident returns a figure of this process's memory in KiB.
func resident(tb testing.TB, name string) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip("there is no /proc")
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			require.NoError(tb, err)
			return n
		}
	}
	return 0
}

// resetPeak makes VmHWM begin anew.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
