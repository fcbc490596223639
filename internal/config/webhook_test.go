package config_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/config"
	"storekeeper/internal/webhookauth"
)

const (
	hmacKey   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	publicKey = "whpk_MCowBQYDK2VwAyEAa5Hd3r2m1o0aT0aT0aT0aT0aT0aT0aT0="
)

func TestWhatWebhooksAreKnownByIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"WEBHOOK_SECRET=whsec_c2hvcnQ=":                                  "WEBHOOK_SECRET is not accepted: entry 1 is not a key of signatures: want whsec_ and the base64 form of 24 to 64 bytes",
		"WEBHOOK_SECRET=a," + publicKey:                                  "WEBHOOK_SECRET is not accepted: entry 2 is not an Ed25519 public key",
		"WEBHOOK_SECRET=" + hmacKey + "@tomorrow/":                       "WEBHOOK_SECRET is not accepted: entry 1 has no window of validity after its @",
		"WEBHOOK_SECRET=" + hmacKey + "@2027-01-01T00:00:00Z/2026-01-01": "entry 1 has no window",
		"WEBHOOK_SECRET=a,a":                                             "entry 2 repeats entry 1",
		"WEBHOOK_SECRET=a,whsk_" + strings.Repeat("QUJD", 8):             "entry 2 is a private key",
		"WEBHOOK_AUTH=both":                                              `WEBHOOK_AUTH="both" is not accepted: want any, secret or signature`,
		"WEBHOOK_AUTH=signature":                                         "WEBHOOK_AUTH does not go with WEBHOOK_SECRET: the mode signature needs an entry that is a whsec_ or whpk_ key",
		"WEBHOOK_AUTH=secret\nWEBHOOK_SECRET=" + hmacKey:                 "WEBHOOK_AUTH does not go with WEBHOOK_SECRET: the mode secret needs an entry that is a shared secret",
		"WEBHOOK_RATE_LIMIT=-1":                                          `WEBHOOK_RATE_LIMIT="-1" is not accepted`,
		"WEBHOOK_MAX_BACKLOG_AGE=10ms":                                   `WEBHOOK_MAX_BACKLOG_AGE="10ms" is not accepted`,
	} {
		_, err := config.Load(append(complete, strings.Split(given, "\n")...), config.RoleStandalone)
		require.ErrorContains(t, err, want, given)
		require.NotContains(t, err.Error(), "c2hvcnQ=")
		require.NotContains(t, err.Error(), hmacKey)
	}
}

func TestAKeyOfSignaturesMayBeLimitedInTime(t *testing.T) {
	t.Parallel()
	c, err := config.Load(append(complete, "WEBHOOK_SECRET=a@b, "+hmacKey+"@/2026-12-31T00:00:00Z"), config.RoleStandalone)
	require.NoError(t, err)
	keyring, err := c.Keyring()
	require.NoError(t, err)
	_, err = keyring.Check(http.Header{webhookauth.HeaderSecret: {"a@b"}}, time.Now())
	require.NoError(t, err, "a shared secret is taken as it is")
	require.Contains(t, c.Secrets(), hmacKey, "the key is kept out of logs without its window, too")
	require.NotContains(t, c.Secrets(), "a")
}
