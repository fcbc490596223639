// Package edgeclient asks the HTTP edge of an installation for the CLI, and says what to do when it does not answer as it should.
package edgeclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"storekeeper/contract"
	"storekeeper/internal/cli/exit"
	"storekeeper/internal/cli/text"
	"storekeeper/internal/config"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/edge/asker"
	"storekeeper/internal/retryafter"
)

const (
	// PageSize is how many stores, or entries of the audit trail, are asked for at a time. The edge gives no more.
	PageSize = 1000
	// maxAnswer is how many bytes of an answer are read at most. A store takes some KiB, its history included.
	maxAnswer = 16 << 20
)

// The variables that the token for the edge comes from, the first that is set.
const (
	OwnToken    = "STOREKEEPER_TOKEN"
	BypassToken = "SERVER_BYPASS_TOKEN"
)

// Client asks the HTTP edge of an installation. Make it with New.
type Client struct {
	URL   string
	Token config.Secret
	// TokenFrom is the variable that has the token.
	TokenFrom string
	// Timeout is how long a request may take.
	Timeout time.Duration
	Client  http.Client
}

// New returns a client that has not asked anything yet. The connections are those of transport.
func New(cfg *config.Config, timeout time.Duration, transport http.RoundTripper) *Client {
	token, tokenFrom := config.Secret(cfg.BypassToken()), BypassToken
	if cfg.StorekeeperToken != "" {
		token, tokenFrom = cfg.StorekeeperToken, OwnToken
	}
	return &Client{
		URL: string(cfg.StorekeeperURL), Token: token, TokenFrom: tokenFrom, Timeout: timeout,
		Client: http.Client{
			Transport: transport,
			// A redirect would turn a PUT into a GET, and lose the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Get decodes what the edge answers to a GET.
func (e *Client) Get(ctx context.Context, path string, into any) error {
	return e.Do(ctx, http.MethodGet, path, nil, into)
}

// Do sends body as JSON unless it is nil, and decodes the answer unless into is nil.
func (e *Client) Do(ctx context.Context, method, path string, body, into any) error {
	var sent bytes.Buffer
	if body != nil {
		if err := text.WriteJSON(&sent, body); err != nil {
			return exit.Unexpected(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.URL+path, &sent)
	if err != nil {
		return exit.Unexpected(err)
	}
	e.Sign(req)
	resp, err := e.Client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return e.Unreachable(fmt.Sprintf("has not answered within %s, the --timeout", e.Timeout))
	case err != nil:
		return e.notReached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return e.Refusal(resp, body != nil)
	}
	if into == nil || resp.StatusCode == http.StatusNoContent { // which an older edge may answer
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return e.Foreign(resp)
	}
	return nil
}

// Sign adds the token, and says that the request comes from this CLI.
func (e *Client) Sign(req *http.Request) {
	if e.Token != "" {
		req.Header.Set("Authorization", "Bearer "+string(e.Token))
	}
	req.Header.Set(asker.HeaderVia, contract.ViaCLI)
}

// Store returns one store as the edge gives it; ErrNotFound if the edge has none.
func (e *Client) Store(ctx context.Context, id string) (json.RawMessage, error) {
	var raw json.RawMessage
	err := e.Get(ctx, "/stores/"+url.PathEscape(id), &raw)
	return raw, err
}

// ErrNotFound is the edge's own 404. The caller puts it into words.
var ErrNotFound = errors.New("not found")

const (
	// maxRefusal is how many bytes of an answer that refuses are read.
	maxRefusal = 64 << 10
	// maxRetryAfter is the longest wait that is passed on.
	maxRetryAfter = 24 * time.Hour
)

// Refusal turns an answer other than 200 and 204 into an error that passes on what the edge said. sent says that the request had a body.
func (e *Client) Refusal(resp *http.Response, sent bool) error {
	said, ours := ProblemOf(resp)
	switch status := resp.StatusCode; {
	case status/100 == 3:
		return e.redirected(resp)
	case status == http.StatusForbidden && ours:
		return exit.Fail(exit.Refused, "forbidden", "the edge at "+e.URL+" refused the token: "+said, "take a token that may act")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return e.unauthorized(said, ours)
	case status == http.StatusNotFound && ours:
		return ErrNotFound
	case status == http.StatusBadRequest && ours && sent:
		return exit.Fail(exit.Refused, "invalid", "the edge refused the request: "+said, "")
	case status == http.StatusBadRequest && !ours && strings.HasPrefix(e.URL, "http:") && strings.Contains(said, "HTTPS server"):
		f := e.Unreachable("wants https")
		f.Todo = "write https:// in --url or STOREKEEPER_URL"
		return f
	case !ours:
		return e.Foreign(resp)
	}
	f := e.Unreachable(fmt.Sprintf("answers %d: %s", resp.StatusCode, said))
	f.Todo = advice(resp)
	return f
}

// advice is what to do about an answer of the edge's own.
func advice(resp *http.Response) string {
	if wait := retryafter.Parse(resp.Header, time.Now(), maxRetryAfter); wait > 0 {
		return fmt.Sprintf("try again in %s; starter doctor says what is wrong", text.Short(wait))
	}
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return "starter doctor says what is wrong; its log has the request id " + text.Plain(cmp.Or(resp.Header.Get("X-Request-Id"), "of this answer"))
	case resp.StatusCode == http.StatusMethodNotAllowed:
		return "its version may be another than that of this starter: compare starter version with /health"
	}
	return ""
}

// ProblemOf reads why a request is refused. It is the edge's own word if ours; else it is what somebody else answered, or "".
func ProblemOf(resp *http.Response) (said string, ours bool) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part of it says enough
	var p api.Problem
	if json.Unmarshal(body, &p) != nil {
		return text.Plain(string(body[:min(len(body), 200)])), false
	}
	said = cmp.Or(p.Detail, p.Error, p.Title)
	return text.Plain(cmp.Or(said, http.StatusText(resp.StatusCode))), said != ""
}

func (e *Client) unauthorized(said string, ours bool) *exit.Failure {
	f := exit.Fail(exit.Refused, "unauthorized", "the edge at "+e.URL+" refused the token", e.TokenFrom+" must be the server's")
	switch {
	case e.Token == "":
		f.Todo = "set SERVER_BYPASS_TOKEN to the server's"
	case e.TokenFrom == OwnToken:
		f.Todo = OwnToken + " must be a token of the server's OPERATOR_TOKENS"
	}
	switch {
	case !ours:
		f.What += ", or something before it did: the answer is not Storekeeper's"
		f.Todo += "; a proxy, or a page to log in at, must let the request through"
	case said != "Unauthorized" && said != http.StatusText(http.StatusForbidden):
		f.What += ": " + said
	}
	return f
}

func (e *Client) redirected(resp *http.Response) *exit.Failure {
	f := e.Unreachable(fmt.Sprintf("answers %d, which leads elsewhere", resp.StatusCode))
	if to, err := resp.Location(); err == nil {
		f.What += ", to " + text.Plain(to.Scheme+"://"+to.Host+to.Path)
		f.Todo = "give the URL that is led to, without the path of the request, in --url or STOREKEEPER_URL"
	}
	return f
}

// Foreign is the failure of an answer that Storekeeper does not give.
func (e *Client) Foreign(resp *http.Response) *exit.Failure {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	f := e.Unreachable(fmt.Sprintf("answers %d %s (%s), and does not answer as Storekeeper does", resp.StatusCode,
		http.StatusText(resp.StatusCode), text.Plain(cmp.Or(kind, "no type"))))
	switch via := text.Plain(cmp.Or(resp.Header.Get("Server"), resp.Header.Get("Via"))); {
	case resp.StatusCode >= http.StatusInternalServerError:
		f.Todo = "a proxy before it may not reach it"
		if via != "" {
			f.Todo += " (" + via + ")"
		}
		f.Todo += ": check that cmd/webhook or cmd/standalone runs behind it"
	case resp.StatusCode == http.StatusNotFound:
		f.Todo = "something else listens there, or the URL has a path too many: check --url or STOREKEEPER_URL"
	default:
		f.Todo = "something else listens there, or a proxy answers with a page of its own: check --url or STOREKEEPER_URL"
	}
	return f
}

// notReached says why a request got no answer, and what to do.
func (e *Client) notReached(err error) *exit.Failure {
	f := e.Unreachable(fmt.Sprintf("can't be reached (%s)", exit.Innermost(err)))
	var (
		record    tls.RecordHeaderError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		dns       *net.DNSError
	)
	switch {
	case errors.As(err, &record), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		f.Todo = "it speaks no TLS: write http:// in --url or STOREKEEPER_URL, or have a proxy before it speak TLS"
	case errors.As(err, &authority):
		f.Todo = "its certificate is signed by nobody that this machine trusts: put the authority's certificate into a file and name it in SSL_CERT_FILE"
	case errors.As(err, &name):
		f.Todo = "its certificate is for another name: use a name in --url or STOREKEEPER_URL that the certificate has"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Todo = "its certificate is not valid now: renew it, or correct this machine's clock (" + time.Now().UTC().Format(time.RFC3339) + ")"
	case errors.As(err, &verify):
		f.Todo = "its certificate can't be trusted: look at it with openssl s_client -connect HOST:PORT"
	case errors.As(err, &dns):
		f.Todo = "its name is not known here: check the host in --url or STOREKEEPER_URL"
	case strings.Contains(err.Error(), "proxy"):
		f.Todo = "the proxy of HTTP_PROXY or HTTPS_PROXY is in the way: put the host into NO_PROXY, or have the proxy allow its port"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Todo = "nothing listens there: check that cmd/webhook or cmd/standalone runs, and --url or STOREKEEPER_URL"
	}
	return f
}

// Unreachable is the failure of an edge that can't be reached, or that answers as it should not.
func (e *Client) Unreachable(how string) *exit.Failure {
	return exit.Fail(
		exit.Unreachable, "unreachable", "the edge at "+e.URL+" "+how,
		"check that cmd/webhook or cmd/standalone runs, and --url or STOREKEEPER_URL",
	)
}

// Health returns what the edge says of itself, as it wrote it and decoded, whether it is healthy or not.
func (e *Client) Health(ctx context.Context) (raw json.RawMessage, h api.Health, _ error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+"/health", http.NoBody)
	if err != nil {
		return nil, h, exit.Unexpected(err)
	}
	e.Sign(req)
	resp, err := e.Client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return nil, h, e.Unreachable(fmt.Sprintf("has not answered within %s, the --timeout", e.Timeout))
	case err != nil:
		return nil, h, e.notReached(err)
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusServiceUnavailable) && json.Unmarshal(raw, &h) == nil && h.Status != "" && h.Version != "" {
		return bytes.TrimSpace(raw), h, nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if resp.StatusCode == http.StatusOK {
		return nil, h, e.Foreign(resp)
	}
	if err := e.Refusal(resp, false); !errors.Is(err, ErrNotFound) {
		return nil, h, err
	}
	return nil, h, e.Unreachable("has no /health")
}
