package cli

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

	"storekeeper/internal/config"
	"storekeeper/internal/edge/api"
	"storekeeper/internal/httpclient"
	"storekeeper/internal/retryafter"
)

const (
	// pageSize is how many stores are asked for at a time. The edge gives no more.
	pageSize = 1000
	// maxAnswer is how many bytes of an answer are read at most. A store takes some KiB, its history included.
	maxAnswer = 16 << 20
)

// edge is the HTTP edge of an installation.
type edge struct {
	url   string
	token config.Secret
	// tokenFrom is the variable that has the token.
	tokenFrom string
	timeout   time.Duration
	client    http.Client
}

// edge returns the edge that the flag or the environment names. It has not been asked anything yet.
func (a *app) edge() (*edge, error) {
	cfg, err := a.settings()
	if err != nil {
		return nil, err
	}
	if a.url != "" {
		if err := cfg.StorekeeperURL.UnmarshalText([]byte(a.url)); err != nil {
			return nil, usageError("--url is not accepted: " + err.Error())
		}
	}
	token, tokenFrom := config.Secret(cfg.BypassToken()), bypassToken
	if cfg.StorekeeperToken != "" {
		token, tokenFrom = cfg.StorekeeperToken, ownToken
	}
	return &edge{
		url: string(cfg.StorekeeperURL), token: token, tokenFrom: tokenFrom, timeout: a.timeout,
		client: http.Client{
			Transport: httpclient.Traced(httpclient.Transport()),
			// A redirect would turn a PUT into a GET, and lose the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// get decodes what the edge answers to a GET.
func (e *edge) get(ctx context.Context, path string, into any) error {
	return e.do(ctx, http.MethodGet, path, nil, into)
}

// do sends body as JSON unless it is nil, and decodes the answer unless into is nil.
func (e *edge) do(ctx context.Context, method, path string, body, into any) error {
	var sent bytes.Buffer
	if body != nil {
		if err := writeJSON(&sent, body); err != nil {
			return unexpected(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.url+path, &sent)
	if err != nil {
		return unexpected(err)
	}
	if e.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(e.token))
	}
	resp, err := e.client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return e.unreachable(fmt.Sprintf("has not answered within %s, the --timeout", e.timeout))
	case err != nil:
		return e.notReached(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return e.refusal(resp, body != nil)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return e.foreign(resp)
	}
	return nil
}

// store returns one store as the edge gives it; errNotFound if the edge has none.
func (e *edge) store(ctx context.Context, id string) (json.RawMessage, error) {
	var raw json.RawMessage
	err := e.get(ctx, "/stores/"+url.PathEscape(id), &raw)
	return raw, err
}

// errNotFound is the edge's own 404. The caller puts it into words.
var errNotFound = errors.New("not found")

const (
	// maxRefusal is how many bytes of an answer that refuses are read.
	maxRefusal = 64 << 10
	// maxRetryAfter is the longest wait that is passed on.
	maxRetryAfter = 24 * time.Hour
)

// refusal turns an answer other than 200 and 204 into an error that passes on what the edge said. sent says that the request had a body.
func (e *edge) refusal(resp *http.Response, sent bool) error {
	said, ours := problemOf(resp)
	switch status := resp.StatusCode; {
	case status/100 == 3:
		return e.redirected(resp)
	case status == http.StatusForbidden && ours:
		return &failure{exitRefused, "forbidden", "the edge at " + e.url + " refused the token: " + said, "take a token that may act"}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return e.unauthorized(said, ours)
	case status == http.StatusNotFound && ours:
		return errNotFound
	case status == http.StatusBadRequest && ours && sent:
		return &failure{exitRefused, "invalid", "the edge refused the request: " + said, ""}
	case status == http.StatusBadRequest && !ours && strings.HasPrefix(e.url, "http:") && strings.Contains(said, "HTTPS server"):
		f := e.unreachable("wants https")
		f.todo = "write https:// in --url or STOREKEEPER_URL"
		return f
	case !ours:
		return e.foreign(resp)
	}
	f := e.unreachable(fmt.Sprintf("answers %d: %s", resp.StatusCode, said))
	f.todo = advice(resp)
	return f
}

// advice is what to do about an answer of the edge's own.
func advice(resp *http.Response) string {
	if wait := retryafter.Parse(resp.Header, time.Now(), maxRetryAfter); wait > 0 {
		return fmt.Sprintf("try again in %s; starter doctor says what is wrong", short(wait))
	}
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return "starter doctor says what is wrong; its log has the request id " + plain(cmp.Or(resp.Header.Get("X-Request-Id"), "of this answer"))
	case resp.StatusCode == http.StatusMethodNotAllowed:
		return "its version may be another than that of this starter: compare starter version with /health"
	}
	return ""
}

// problemOf reads why a request is refused. It is the edge's own word if ours; else it is what somebody else answered, or "".
func problemOf(resp *http.Response) (said string, ours bool) {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part of it says enough
	var p api.Problem
	if json.Unmarshal(text, &p) != nil {
		return plain(string(text[:min(len(text), 200)])), false
	}
	said = firstOf(p.Detail, p.Error, p.Title)
	return plain(firstOf(said, http.StatusText(resp.StatusCode))), said != ""
}

func (e *edge) unauthorized(said string, ours bool) *failure {
	f := &failure{exitRefused, "unauthorized", "the edge at " + e.url + " refused the token", e.tokenFrom + " must be the server's"}
	switch {
	case e.token == "":
		f.todo = "set SERVER_BYPASS_TOKEN to the server's"
	case e.tokenFrom == ownToken:
		f.todo = ownToken + " must be a token of the server's OPERATOR_TOKENS"
	}
	switch {
	case !ours:
		f.what += ", or something before it did: the answer is not Storekeeper's"
		f.todo += "; a proxy, or a page to log in at, must let the request through"
	case said != "Unauthorized" && said != http.StatusText(http.StatusForbidden):
		f.what += ": " + said
	}
	return f
}

func (e *edge) redirected(resp *http.Response) *failure {
	f := e.unreachable(fmt.Sprintf("answers %d, which leads elsewhere", resp.StatusCode))
	if to, err := resp.Location(); err == nil {
		f.what += ", to " + plain(to.Scheme+"://"+to.Host+to.Path)
		f.todo = "give the URL that is led to, without the path of the request, in --url or STOREKEEPER_URL"
	}
	return f
}

// foreign is the failure of an answer that Storekeeper does not give.
func (e *edge) foreign(resp *http.Response) *failure {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	f := e.unreachable(fmt.Sprintf("answers %d %s (%s), and does not answer as Storekeeper does", resp.StatusCode,
		http.StatusText(resp.StatusCode), plain(cmp.Or(kind, "no type"))))
	switch via := plain(firstOf(resp.Header.Get("Server"), resp.Header.Get("Via"))); {
	case resp.StatusCode >= http.StatusInternalServerError:
		f.todo = "a proxy before it may not reach it"
		if via != "" {
			f.todo += " (" + via + ")"
		}
		f.todo += ": check that cmd/webhook or cmd/standalone runs behind it"
	case resp.StatusCode == http.StatusNotFound:
		f.todo = "something else listens there, or the URL has a path too many: check --url or STOREKEEPER_URL"
	default:
		f.todo = "something else listens there, or a proxy answers with a page of its own: check --url or STOREKEEPER_URL"
	}
	return f
}

// notReached says why a request got no answer, and what to do.
func (e *edge) notReached(err error) *failure {
	f := e.unreachable(fmt.Sprintf("can't be reached (%s)", innermost(err)))
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
		f.todo = "it speaks no TLS: write http:// in --url or STOREKEEPER_URL, or have a proxy before it speak TLS"
	case errors.As(err, &authority):
		f.todo = "its certificate is signed by nobody that this machine trusts: put the authority's certificate into a file and name it in SSL_CERT_FILE"
	case errors.As(err, &name):
		f.todo = "its certificate is for another name: use a name in --url or STOREKEEPER_URL that the certificate has"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.todo = "its certificate is not valid now: renew it, or correct this machine's clock (" + time.Now().UTC().Format(time.RFC3339) + ")"
	case errors.As(err, &verify):
		f.todo = "its certificate can't be trusted: look at it with openssl s_client -connect HOST:PORT"
	case errors.As(err, &dns):
		f.todo = "its name is not known here: check the host in --url or STOREKEEPER_URL"
	case strings.Contains(err.Error(), "proxy"):
		f.todo = "the proxy of HTTP_PROXY or HTTPS_PROXY is in the way: put the host into NO_PROXY, or have the proxy allow its port"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.todo = "nothing listens there: check that cmd/webhook or cmd/standalone runs, and --url or STOREKEEPER_URL"
	}
	return f
}

func (e *edge) unreachable(how string) *failure {
	return &failure{
		exitUnreachable, "unreachable", "the edge at " + e.url + " " + how,
		"check that cmd/webhook or cmd/standalone runs, and --url or STOREKEEPER_URL",
	}
}
