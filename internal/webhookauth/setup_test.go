package webhookauth_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

// now is the moment of the vectors of the reference libraries.
var now = time.Unix(1614265330, 0)

const (
	deliveryID   = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	sharedSecret = "hook-secret@2026" // what follows the @ belongs to it
)

var (
	payload    = []byte(`{"test": 2432232314}`)
	hmacKey    = bytes.Repeat([]byte{1}, 32)
	otherHMAC  = bytes.Repeat([]byte{2}, 32)
	privateKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
	otherKey   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, ed25519.SeedSize))
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func hmacEntry(key []byte) string { return "whsec_" + b64(key) }

func publicEntry(key ed25519.PrivateKey) string {
	return "whpk_" + b64(key.Public().(ed25519.PublicKey))
}

// content is what is signed.
func content(id string, at time.Time, body []byte) []byte {
	return fmt.Appendf(nil, "%s.%d.%s", id, at.Unix(), body)
}

func signHMAC(key []byte, id string, at time.Time, body []byte) string {
	return signContent(key, content(id, at, body))
}

func signContent(key, content []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(content)
	return "v1," + b64(mac.Sum(nil))
}

// signEd25519 is the only v1a signer here: the Go reference library has none.
func signEd25519(key ed25519.PrivateKey, id string, at time.Time, body []byte) string {
	return "v1a," + b64(ed25519.Sign(key, content(id, at, body)))
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func signedHeader(id string, at time.Time, signature string) http.Header {
	return header("webhook-id", id, "webhook-timestamp", strconv.FormatInt(at.Unix(), 10), "webhook-signature", signature)
}

// setup returns a keyring of these entries, or of one of each kind.
func setup(t testing.TB, entries ...string) *webhookauth.Keyring {
	t.Helper()
	if len(entries) == 0 {
		entries = []string{sharedSecret, hmacEntry(hmacKey), publicEntry(privateKey)}
	}
	k, err := webhookauth.Parse(entries)
	require.NoError(t, err)
	return k
}

func verify(k *webhookauth.Keyring, h http.Header, body []byte, at time.Time) (webhookauth.Sender, error) {
	claim, err := k.Check(h, at)
	if err != nil {
		return webhookauth.Sender{}, err
	}
	return claim.Verify(body)
}
