package httpserver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Caller is who sent a request, as far as the token tells.
type Caller struct {
	// Name is that of the token. It is empty for a token without a name, which several may share.
	Name string
	// ReadOnly callers may look, and do nothing; see RequireActing.
	ReadOnly bool
}

// Actor is who acts: the caller's name if there is one, whatever the request says, and otherwise who the request says.
func (c Caller) Actor(said string) string { return cmp.Or(c.Name, said) }

// Tokens are what callers may bring. They keep hashes alone: hashes are of one length, so that the time of a comparison tells nothing
// about the tokens. Nobody can bring one of the zero Tokens.
type Tokens struct{ known []knownToken }

type knownToken struct {
	hash   [sha256.Size]byte
	caller Caller
}

// NewTokens returns Tokens without names. Empty ones are left out: nobody can bring them.
func NewTokens(tokens ...string) Tokens {
	var t Tokens
	for _, token := range tokens {
		t.Add(token, Caller{})
	}
	return t
}

// FixedTokens is NewTokens for who asks for the newest tokens each time, when they don't change.
func FixedTokens(tokens ...string) func() Tokens {
	t := NewTokens(tokens...)
	return func() Tokens { return t }
}

// Add makes the token one of the caller's. An empty one is left out.
func (t *Tokens) Add(token string, c Caller) {
	if token != "" {
		t.known = append(t.known, knownToken{sha256.Sum256([]byte(token)), c})
	}
}

// Caller returns whose token the text is, and whether it is anybody's. It compares with all tokens, in a time that is the same whoever brings
// which.
func (t Tokens) Caller(brought string) (Caller, bool) {
	hash := sha256.Sum256([]byte(brought))
	found := -1
	for i := range t.known {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], t.known[i].hash[:]), i, found)
	}
	if found < 0 {
		return Caller{}, false
	}
	return t.known[found].caller, true
}

// Bearer is the token of "Authorization: Bearer <token>", whose scheme may be in any case (RFC 9110, section 11.1); "" if there is none.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// callerKey is where the context of a request has its Caller.
type callerKey struct{}

// CallerOf returns who sent the request that the context is of: the zero Caller when Require has let nobody in.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Require lets those through whom known knows, trusts them (see Trust), and tells CallerOf of them. All others are answered by refuse, which
// finds WWW-Authenticate set.
func Require(known func(*http.Request) (Caller, bool), refuse http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, ok := known(r)
			if !ok {
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, r)
				return
			}
			Trust(r.Context())
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
		})
	}
}

// RequireActing has refuse answer callers who may only read, unless they only read (GET, HEAD). It comes after Require.
func RequireActing(refuse http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if CallerOf(r.Context()).ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
				refuse(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
