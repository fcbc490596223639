package webhookauth_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"storekeeper/internal/webhookauth"
)

// BenchmarkVerify is Check and Verify together, of a body as the Auth Worker sends it.
func BenchmarkVerify(b *testing.B) {
	body := []byte(`{"event":"workspace.created","instanceId":"0b9ddf2c-3a0b-4a5e-8d5b-6f0a6b7a4f11",` +
		`"userId":"5f0e3ad1-0b0e-4f3b-9a68-3f0a36b4d0c2","timestamp":"2026-11-23T18:29:10.028Z"}`)
	k := setup(b)
	right, rightEd := signHMAC(hmacKey, deliveryID, now, body), signEd25519(privateKey, deliveryID, now, body)
	wrong, wrongEd := signHMAC(otherHMAC, deliveryID, now, body), signEd25519(otherKey, deliveryID, now, body)
	signed := func(signature string) http.Header { return signedHeader(deliveryID, now, signature) }
	large := bytes.Repeat([]byte("x"), 64<<10)
	for _, c := range []struct {
		name   string
		header http.Header
		body   []byte
		want   error
	}{
		{"secret", header("X-Webhook-Secret", sharedSecret), body, nil},
		{"v1", signed(right), body, nil},
		{"v1a", signed(rightEd), body, nil},
		{"v1_of_64_KiB", signed(signHMAC(hmacKey, deliveryID, now, large)), large, nil},
		{"v1a_of_64_KiB", signed(signEd25519(privateKey, deliveryID, now, large)), large, nil},
		{"refused_without_credentials", header("Content-Type", "application/json"), body, webhookauth.ErrNoCredentials},
		{"refused_for_its_secret", header("X-Webhook-Secret", "wrong"), body, webhookauth.ErrWrongSecret},
		{"refused_for_its_v1", signed(wrong), body, webhookauth.ErrWrongSignature},
		{"refused_for_4_v1a", signed(strings.Repeat(wrongEd+" ", 4)), body, webhookauth.ErrWrongSignature},
		{"refused_for_4_v1a_of_64_KiB", signed(strings.Repeat(wrongEd+" ", 4)), large, webhookauth.ErrWrongSignature},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(k, c.header, c.body, now); !errors.Is(err, c.want) {
					b.Fatal(err)
				}
			}
		})
	}
}
