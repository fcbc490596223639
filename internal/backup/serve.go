package backup

import (
	"io"
	"net/http"
	"time"
)

// chunkTimeout is how long whoever gets a backup may take for a part of it.
const chunkTimeout = 30 * time.Second

// Serve answers with the archive, a tar, and closes it. An answer that can't be finished is cut off, which the caller notices; it panics then with
// http.ErrAbortHandler, as net/http wants it.
func Serve(w http.ResponseWriter, archive io.ReadCloser) {
	defer func() { _ = archive.Close() }()
	w.Header().Set("Content-Type", MediaType)
	control := http.NewResponseController(w)
	out := writerFunc(func(p []byte) (int, error) {
		_ = control.SetWriteDeadline(time.Now().Add(chunkTimeout)) // without it the server's own deadline counts
		return w.Write(p)
	})
	if _, err := io.CopyBuffer(out, archive, make([]byte, 256<<10)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

type writerFunc func([]byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
