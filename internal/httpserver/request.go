package httpserver

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// Prepare does with a request what all handlers want before they see it:
//   - An escaped character that needs no escape is the character itself (RFC 3986, section 2.3).
//   - ReadTimeout ends once the request has come. From then on only the end of the connection ends the context.
//   - The connection ends with the answer when the body has not been read. Otherwise the server would wait for the rest of it, up to 256 KiB,
//     before it answers.
//   - The connection also ends when another reader could see the end of the body elsewhere (RFC 9112, section 6.1): net/http does not tell whether
//     there was a Content-Length beside Transfer-Encoding, nor whether there was a Transfer-Encoding in a request of HTTP/1.0.
func Prepare(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := &body{ReadCloser: r.Body, left: r.ContentLength, w: w, keep: len(r.TransferEncoding) == 0 && r.ProtoAtLeast(1, 1)}
		if r.ContentLength == 0 {
			b.end()
		}
		if !b.keep || r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		own := *r
		own.URL, own.Body = unescapeUnreserved(r.URL), b
		next.ServeHTTP(w, &own)
	})
}

// body notices when all of it has been read.
type body struct {
	io.ReadCloser
	left  int64 // negative: not known
	ended bool
	w     http.ResponseWriter
	keep  bool // the connection is fit for another request
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == io.EOF || b.left == 0 {
		b.end()
	}
	return n, err
}

func (b *body) end() {
	if b.ended {
		return
	}
	b.ended = true
	if b.keep {
		b.w.Header().Del("Connection")
	}
	_ = http.NewResponseController(b.w).SetReadDeadline(time.Time{}) // where there is a deadline, it can be set
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// unescapeUnreserved leaves alone what has a meaning of its own when it is not escaped, such as a slash.
func unescapeUnreserved(u *url.URL) *url.URL {
	if !strings.Contains(u.RawPath, "%") {
		return u
	}
	var path strings.Builder
	for i := 0; i < len(u.RawPath); i++ {
		if u.RawPath[i] == '%' && i+2 < len(u.RawPath) {
			c, err := url.PathUnescape(u.RawPath[i : i+3])
			if err == nil && strings.Contains(unreserved, c) {
				path.WriteString(c)
				i += 2
				continue
			}
		}
		path.WriteByte(u.RawPath[i])
	}
	own := *u
	if own.RawPath = path.String(); own.RawPath == (&url.URL{Path: u.Path}).EscapedPath() {
		own.RawPath = ""
	}
	return &own
}

// PathParam is a parameter of the path as the caller meant it: chi gives it escaped only if the path was matched escaped.
func PathParam(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value
	}
	unescaped, err := url.PathUnescape(value)
	if err != nil { // can't be: the server has parsed the whole path
		return value
	}
	return unescaped
}

// ReadBody reads all of a body of at most limit bytes. A larger body fails with a *http.MaxBytesError, at once if the head gives its length. A body
// that takes longer than the server's ReadTimeout fails with os.ErrDeadlineExceeded.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}

// Allowed are the methods that the routes have for the path of a request.
func Allowed(routes chi.Routes, r *http.Request) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), method, cmp.Or(r.URL.RawPath, r.URL.Path)) {
			methods = append(methods, method)
		}
	}
	return methods
}
