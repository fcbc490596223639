package httpserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Token is what callers must bring. It keeps a hash alone: hashes are of one length, so that the time of a comparison tells nothing
// about the token.
type Token struct {
	hash [sha256.Size]byte
	set  bool
}

// NewToken returns the Token of a text. Nobody can bring the empty one.
func NewToken(token string) Token {
	return Token{hash: sha256.Sum256([]byte(token)), set: token != ""}
}

// Is says whether the text is the token.
func (t Token) Is(brought string) bool {
	hash := sha256.Sum256([]byte(brought))
	return subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1 && t.set
}

// Bearer is the token of "Authorization: Bearer <token>", whose scheme may be in any case (RFC 9110, section 11.1); "" if there is none.
func Bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// Require lets the authorized through, and trusts them (see Trust). All others are answered by refuse, which finds WWW-Authenticate set.
func Require(authorized func(*http.Request) bool, refuse http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !authorized(r) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				refuse(w, r)
				return
			}
			Trust(r.Context())
			next.ServeHTTP(w, r)
		})
	}
}
