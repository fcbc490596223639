package webhookauth_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

func TestEntriesThatAreRefused(t *testing.T) {
	t.Parallel()
	const (
		notHMAC   = "is not a key of signatures: want whsec_ and the base64 form of 24 to 64 bytes"
		notPublic = "is not an Ed25519 public key: want whpk_ and the base64 form of its 32 bytes"
		notWindow = "has no window of validity after its @: want NOT_BEFORE/NOT_AFTER, RFC 3339 times such as 2026-11-24T00:00:00Z, " +
			"the first before the second, one of which may be left out"
		notPrivate = "is a private key, which belongs to the sender alone: give the public key, whpk_ and the base64 form of its 32 bytes"
	)
	key := hmacEntry(hmacKey)
	noPoint := append([]byte{2}, make([]byte, 31)...)

	for name, c := range map[string]struct{ entry, want string }{
		"an empty one":                               {"", "is empty"},
		"white space within":                         {"two words", "contains white space"},
		"a line break at the end of base64":          {key + "\n", "contains white space"},
		"a private key":                              {"whsk_" + b64(privateKey), notPrivate},
		"a private key with a window":                {"whsk_" + b64(privateKey) + "@/2026-11-24T00:00:00Z", notPrivate},
		"an HMAC key of nothing":                     {"whsec_", notHMAC},
		"an HMAC key of 23 bytes":                    {hmacEntry(make([]byte, 23)), notHMAC},
		"an HMAC key of 65 bytes":                    {hmacEntry(make([]byte, 65)), notHMAC},
		"an HMAC key that is not base64":             {"whsec_" + strings.Repeat("*", 32), notHMAC},
		"an HMAC key in the alphabet for URLs":       {"whsec_" + strings.Repeat("_-", 16), notHMAC},
		"an HMAC key with half of its padding":       {"whsec_" + b64(make([]byte, 25))[:35], notHMAC},
		"a public key of 31 bytes":                   {"whpk_" + b64(make([]byte, 31)), notPublic},
		"a private key as a public one":              {"whpk_" + b64(privateKey), notPublic},
		"a public key that is no point of the curve": {"whpk_" + b64(noPoint), notPublic},
		"a window of nothing":                        {key + "@", notWindow},
		"a window without bounds":                    {key + "@/", notWindow},
		"a window with one time only":                {key + "@2026-11-24T00:00:00Z", notWindow},
		"a window with three times":                  {key + "@2026-11-24T00:00:00Z/2026-11-25T00:00:00Z/2026-11-26T00:00:00Z", notWindow},
		"a window that ends as it begins":            {key + "@2026-11-24T00:00:00Z/2026-11-24T01:00:00+01:00", notWindow},
		"a window that ends before it begins":        {key + "@2026-11-25T00:00:00Z/2026-11-24T00:00:00Z", notWindow},
		"a window of a date only":                    {key + "@2026-11-24/", notWindow},
		"a window without a time zone":               {key + "@/2026-11-24T00:00:00", notWindow},
		"a window that ends in the year 1":           {key + "@/0001-01-01T00:00:00Z", notWindow},
		"a window of a public key":                   {publicEntry(privateKey) + "@tomorrow/", notWindow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := webhookauth.Parse([]string{"good", c.entry})
			require.EqualError(t, err, "entry 2 "+c.want)
		})
	}
}

// With a public key of small order a signature that needs no private key verifies for one body in eight, or for every one.
func TestAPublicKeyThatAnybodyCanSignForIsRefused(t *testing.T) {
	t.Parallel()
	forged := append([]byte{1}, make([]byte, 63)...)
	for _, point := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		key, err := hex.DecodeString(point)
		require.NoError(t, err)
		verified := 0
		for i := range 200 {
			if ed25519.Verify(key, []byte{byte(i)}, forged) {
				verified++
			}
		}
		require.Positive(t, verified, "the standard library takes forgeries for %s", point)
		_, err = webhookauth.Parse([]string{"whpk_" + b64(key)})
		require.EqualError(t, err, "entry 1 is not an Ed25519 public key: want whpk_ and the base64 form of its 32 bytes", point)
	}
}

func TestNoEntriesAreRefused(t *testing.T) {
	t.Parallel()
	_, err := webhookauth.Parse(nil)
	require.EqualError(t, err, "there is no entry: want at least one shared secret, whsec_ key or whpk_ key")
}

func TestAnEntryThatIsGivenTwiceIsRefused(t *testing.T) {
	t.Parallel()
	key := hmacEntry(hmacKey)
	for name, entries := range map[string][]string{
		"a shared secret":                {"same", "other", "same"},
		"a key":                          {key, "other", key},
		"a key with another window":      {key + "@/2026-01-01T00:00:00Z", "other", key + "@2026-01-01T00:00:00Z/"},
		"a key without its padding":      {key, "other", strings.TrimRight(key, "=")},
		"a public key":                   {publicEntry(privateKey), "other", publicEntry(privateKey)},
		"a secret that looks like a key": {"WHSEC_x", "other", "WHSEC_x"},
	} {
		_, err := webhookauth.Parse(entries)
		require.EqualError(t, err, "entry 3 repeats entry 1: give each secret and each key once", name)
	}
	// The bytes may be the same where the schemes are not.
	public := privateKey[32:]
	_, err := webhookauth.Parse([]string{hmacEntry(public), "whpk_" + b64(public), b64(public)})
	require.NoError(t, err)
}

func TestKeysOfEveryLengthAndPadding(t *testing.T) {
	t.Parallel()
	for length := 24; length <= 64; length++ {
		key := bytes.Repeat([]byte{byte(length)}, length)
		h := signedHeader(deliveryID, now, signHMAC(key, deliveryID, now, payload))
		for _, entry := range []string{hmacEntry(key), strings.TrimRight(hmacEntry(key), "=")} {
			_, err := verify(setup(t, entry), h, payload, now)
			require.NoError(t, err, entry)
		}
	}
	_, err := verify(setup(t, strings.TrimRight(publicEntry(privateKey), "=")),
		signedHeader(deliveryID, now, signEd25519(privateKey, deliveryID, now, payload)), payload, now)
	require.NoError(t, err)
}

func TestAKeyIsUsedOnlyInItsWindow(t *testing.T) {
	t.Parallel()
	const from, to = "@2026-11-24T00:00:00Z/", "2026-11-24T02:00:00+01:00"
	start := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	end := start.Add(time.Hour)
	for name, c := range map[string]struct {
		window string
		at     time.Time
		used   bool
	}{
		"just before it begins":          {from + to, start.Add(-1), false},
		"as it begins":                   {from + to, start, true},
		"as it ends":                     {from + to, end, true},
		"just after it ended":            {from + to, end.Add(1), false},
		"before, without a beginning":    {"@/" + to, start.AddDate(-9, 0, 0), true},
		"after, without a beginning":     {"@/" + to, end.Add(1), false},
		"before, without an end":         {from, start.Add(-1), false},
		"long after, without an end":     {from, end.AddDate(9, 0, 0), true},
		"at any time, without a window":  {"", end.AddDate(9, 0, 0), true},
		"with a fraction of a second":    {"@2026-11-24T00:00:00.5Z/", start.Add(time.Second / 2), true},
		"before a fraction of a second":  {"@2026-11-24T00:00:00.5Z/", start, false},
		"signed in time, but sent later": {from + to, end.Add(time.Minute), false},
	} {
		for _, signed := range []struct{ entry, signature string }{
			{hmacEntry(hmacKey), signHMAC(hmacKey, deliveryID, c.at.Truncate(time.Minute), payload)},
			{publicEntry(privateKey), signEd25519(privateKey, deliveryID, c.at.Truncate(time.Minute), payload)},
		} {
			_, err := verify(setup(t, signed.entry+c.window), signedHeader(deliveryID, c.at.Truncate(time.Minute), signed.signature), payload, c.at)
			if c.used {
				require.NoError(t, err, name)
			} else {
				require.ErrorIs(t, err, webhookauth.ErrNoKey, name)
			}
		}
	}
}

func TestAModeLeavesOnlyWhatItAccepts(t *testing.T) {
	t.Parallel()
	secret := header("x-webhook-secret", sharedSecret)
	signature := signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload))
	for _, c := range []struct {
		mode                webhookauth.Mode
		ofSecret, ofSigning error
	}{
		{webhookauth.ModeAny, nil, nil},
		{webhookauth.ModeSecret, nil, webhookauth.ErrNoKey},
		{webhookauth.ModeSignature, webhookauth.ErrNoCredentials, nil},
	} {
		k, err := setup(t).ForMode(c.mode)
		require.NoError(t, err)
		_, err = verify(k, secret, payload, now)
		require.ErrorIs(t, err, c.ofSecret, c.mode)
		_, err = verify(k, signature, payload, now)
		require.ErrorIs(t, err, c.ofSigning, c.mode)
	}
}

func TestAModeThatNothingCouldPassIsRefused(t *testing.T) {
	t.Parallel()
	_, err := setup(t, hmacEntry(hmacKey)).ForMode(webhookauth.ModeSecret)
	require.EqualError(t, err, "the mode secret needs an entry that is a shared secret")
	_, err = setup(t, sharedSecret).ForMode(webhookauth.ModeSignature)
	require.EqualError(t, err, "the mode signature needs an entry that is a whsec_ or whpk_ key")
	for _, mode := range []webhookauth.Mode{"", "Any", "none"} {
		_, err = setup(t).ForMode(mode)
		require.EqualError(t, err, "there is no such mode: want any, secret or signature")
	}
}
