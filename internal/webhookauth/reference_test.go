package webhookauth_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

// reference is the specification's own Go library. It knows v1 alone and has a clock of its own.
func reference(t testing.TB, key []byte) *standardwebhooks.Webhook {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(hmacEntry(key))
	require.NoError(t, err)
	return w
}

func TestTheVectorsOfTheSpecificationAndItsLibraries(t *testing.T) {
	t.Parallel()
	const (
		v1Key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		v1    = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
		// The signature stands in the specification's example of headers, the key that made it in the tests and the README of
		// github.com/svix/svix-webhooks, whose authors wrote both. It is for the same id, timestamp and body as v1.
		v1aKey = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
		v1a    = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	)
	for _, c := range []struct{ entry, signature string }{{v1Key, v1}, {v1aKey, v1a}, {v1Key, v1a + " " + v1}, {v1aKey, v1 + " " + v1a}} {
		k := setup(t, c.entry)
		_, err := verify(k, signedHeader(deliveryID, now, c.signature), payload, now)
		require.NoError(t, err, c.signature)
		_, err = verify(k, signedHeader(deliveryID, now, c.signature), []byte(`{"test":2432232314}`), now)
		require.ErrorIs(t, err, webhookauth.ErrWrongSignature, "the same JSON in other bytes")
	}
}

func TestWhatTheReferenceSignsIsAccepted(t *testing.T) {
	t.Parallel()
	for _, length := range []int{24, 32, 64} {
		key := bytes.Repeat([]byte{7}, length)
		k := setup(t, hmacEntry(key))
		for _, body := range []string{"", "{}", "1.2.3", "\x00\xff not UTF-8", strings.Repeat("x", 64<<10)} {
			for _, id := range []string{"a", deliveryID, longID} {
				signature, err := reference(t, key).Sign(id, now, []byte(body))
				require.NoError(t, err)
				_, err = verify(k, signedHeader(id, now, signature), []byte(body), now)
				require.NoError(t, err)
			}
		}
	}
}

// Both sides get the same requests, which a signer of our own made, at the same moment: the library's clock is the machine's.
func TestTheReferenceDecidesAsWeDo(t *testing.T) {
	t.Parallel()
	at := time.Now().Truncate(time.Second)
	right := signHMAC(hmacKey, deliveryID, at, payload)
	wrong := signHMAC(otherHMAC, deliveryID, at, payload)
	shifted := func(by time.Duration) http.Header {
		return signedHeader(deliveryID, at.Add(by), signHMAC(hmacKey, deliveryID, at.Add(by), payload))
	}
	without := func(name string) http.Header {
		h := signedHeader(deliveryID, at, right)
		h.Del(name)
		return h
	}
	for name, c := range map[string]struct {
		header http.Header
		want   bool
	}{
		"right":                            {signedHeader(deliveryID, at, right), true},
		"right after a wrong one":          {signedHeader(deliveryID, at, wrong+" "+right), true},
		"right after other versions":       {signedHeader(deliveryID, at, "v2,x v1a,x x "+right), true},
		"right between spaces":             {signedHeader(deliveryID, at, "  "+right+" "), true},
		"four minutes old":                 {shifted(-4 * time.Minute), true},
		"four minutes ahead":               {shifted(4 * time.Minute), true},
		"six minutes old":                  {shifted(-6 * time.Minute), false},
		"six minutes ahead":                {shifted(6 * time.Minute), false},
		"of 1970":                          {signedHeader(deliveryID, time.Unix(0, 0), right), false},
		"of another key":                   {signedHeader(deliveryID, at, wrong), false},
		"of another id":                    {signedHeader("other", at, right), false},
		"of another timestamp":             {signedHeader(deliveryID, at.Add(-time.Second), right), false},
		"without an id":                    {without("webhook-id"), false},
		"without a timestamp":              {without("webhook-timestamp"), false},
		"without a signature":              {without("webhook-signature"), false},
		"with another version's name":      {signedHeader(deliveryID, at, "v2"+right[2:]), false},
		"with part of a signature":         {signedHeader(deliveryID, at, right[:30]), false},
		"with a version alone":             {signedHeader(deliveryID, at, "v1,"), false},
		"with a signature without padding": {signedHeader(deliveryID, at, strings.TrimRight(right, "=")), false},
		"with a timestamp that is no number": {
			header("webhook-id", deliveryID, "webhook-timestamp", "now", "webhook-signature", right), false,
		},
		"with a timestamp beyond 64 bits": {
			header("webhook-id", deliveryID, "webhook-timestamp", "99999999999999999999", "webhook-signature", right), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verify(setup(t), c.header, payload, time.Now())
			require.Equal(t, c.want, err == nil, "ours: %v", err)
			err = reference(t, hmacKey).Verify(payload, c.header)
			require.Equal(t, c.want, err == nil, "the reference: %v", err)
		})
	}
}

// What the library accepts and we do not, each on purpose.
func TestWeAreStricterThanTheReference(t *testing.T) {
	t.Parallel()
	right := signHMAC(hmacKey, deliveryID, now, payload)
	stamp := strconv.FormatInt(now.Unix(), 10)
	withTimestamp := func(timestamp string) http.Header {
		return header("webhook-id", deliveryID, "webhook-timestamp", timestamp, "webhook-signature", right)
	}
	withID := func(id string) http.Header { return signedHeader(id, now, signHMAC(hmacKey, id, now, payload)) }
	repeated := signedHeader(deliveryID, now, right)
	repeated.Add("webhook-id", "other")
	for name, c := range map[string]struct {
		header http.Header
		want   error
	}{
		"a sign before the timestamp":    {withTimestamp("+" + stamp), webhookauth.ErrTimestampMalformed},
		"leading zeros in the timestamp": {withTimestamp("00" + stamp), webhookauth.ErrTimestampMalformed},
		"a full stop in the id":          {withID("msg.1"), webhookauth.ErrIDMalformed},
		"a space in the id":              {withID("msg 1"), webhookauth.ErrIDMalformed},
		"an id of 129 characters":        {withID(strings.Repeat("x", 129)), webhookauth.ErrIDMalformed},
		"a header that is there twice":   {repeated, webhookauth.ErrRepeatedHeader},
		"a comma behind the signature":   {signedHeader(deliveryID, now, right+",more"), webhookauth.ErrSignatureMalformed},
		"17 signatures":                  {signedHeader(deliveryID, now, strings.Repeat("v2,x ", 16)+right), webhookauth.ErrSignatureMalformed},
		"a signature header over 4 KiB":  {signedHeader(deliveryID, now, right+" "+strings.Repeat("x", 4<<10)), webhookauth.ErrSignatureMalformed},
	} {
		require.NoError(t, reference(t, hmacKey).VerifyIgnoringTimestamp(payload, c.header), name)
		_, err := verify(setup(t), c.header, payload, now)
		require.ErrorIs(t, err, c.want, name)
	}
	for _, key := range [][]byte{nil, make([]byte, 23), make([]byte, 65)} {
		reference(t, key)
		_, err := webhookauth.Parse([]string{hmacEntry(key)})
		require.Error(t, err, "the specification wants 24 to 64 bytes")
	}
}

func TestWeTakeKeysWithoutPaddingAndTheReferenceDoesNot(t *testing.T) {
	t.Parallel()
	unpadded := "whsec_" + base64.RawStdEncoding.EncodeToString(hmacKey)
	_, err := standardwebhooks.NewWebhook(unpadded)
	require.Error(t, err)
	setup(t, unpadded)
}

func TestEveryPublicKeyThatIsMadeIsAccepted(t *testing.T) {
	t.Parallel()
	for range 50 {
		_, private, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		_, err = verify(setup(t, publicEntry(private)),
			signedHeader(deliveryID, now, signEd25519(private, deliveryID, now, payload)), payload, now)
		require.NoError(t, err)
	}
}
