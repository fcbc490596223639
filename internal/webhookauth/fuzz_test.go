package webhookauth_test

import (
	"bytes"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

// FuzzSignatureHeader: of all texts exactly those are accepted in which one of the two right signatures stands by itself, and
// of those with the v1 one, which it knows, the reference library accepts every one.
func FuzzSignatureHeader(f *testing.F) {
	v1 := signHMAC(hmacKey, deliveryID, now, payload)
	v1a := signEd25519(privateKey, deliveryID, now, payload)
	k := setup(f)
	library := reference(f, hmacKey)
	for _, text := range []string{
		v1, v1a, v1 + " " + v1a, "v2," + v1[3:] + " " + v1, v1 + ",x", " " + v1a + "  ", v1[:40], "v1,", "v1a,", "v1", ",", "",
		signHMAC(otherHMAC, deliveryID, now, payload) + " " + v1a, strings.Repeat("v1a,x ", 15) + v1a, strings.Repeat(v1a+" ", 4) + v1, strings.Repeat(v1a+" ", 5) + v1, strings.Repeat(" ", 16) + v1,
		strings.TrimRight(v1a, "="), v1a[:len(v1a)-3] + nextDigit(v1a[len(v1a)-3]) + "==", v1a[:9] + "\n" + v1a[9:],
		v1 + "\n", strings.ToUpper(v1), v1 + "\t" + v1a, "v1a," + v1[3:],
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := signedHeader(deliveryID, now, text)
		sender, err := verify(k, h, payload, now)
		parts := strings.Split(text, " ")
		ofEd25519 := 0
		for _, part := range parts {
			if canBeEd25519.MatchString(part) {
				ofEd25519++
			}
		}
		inBounds := len(text) <= 4096 && len(parts) <= 16 && ofEd25519 <= 4
		hasV1, hasV1a := slices.Contains(parts, v1), slices.Contains(parts, v1a)
		require.Equal(t, inBounds && (hasV1 || hasV1a), err == nil, "%v", err)
		if err != nil {
			requireRefusal(t, err)
			require.Zero(t, sender)
			return
		}
		require.Equal(t, hasV1, strings.HasPrefix(sender.Key, "v1#"), "the first entry is the v1 key")
		if hasV1 {
			require.NoError(t, library.VerifyIgnoringTimestamp(payload, h))
		}
	})
}

// canBeEd25519 is the base64 form of 64 bytes, whose last digit stands for two bits.
var canBeEd25519 = regexp.MustCompile(`^v1a,[A-Za-z0-9+/]{85}[AQgw]==$`)

// FuzzTimestamp: of all texts, signed as they stand, exactly the plain numbers within five minutes are accepted, and those of
// them that the reference library signs as we do are right for it too.
func FuzzTimestamp(f *testing.F) {
	k := setup(f)
	library := reference(f, hmacKey)
	for _, delta := range []int64{0, 1, -1, 300, -300, 301, -301, 1 << 40} {
		f.Add(strconv.FormatInt(now.Unix()+delta, 10))
	}
	for _, text := range []string{
		"", "0", "-0", "00", "+1614265330", "-1614265330", "01614265330", " 1614265330", "1614265330 ", "1614265330.0", "1_614_265_330",
		"0x60376b72", "1614265330000", "9223372036854775807", "18446744073709551615", "18446744075323816946", "１６１４２６５３３０", "1e9",
		"2021-02-25T15:02:10Z", "1614265330\n",
	} {
		f.Add(text)
	}
	plain := regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	f.Fuzz(func(t *testing.T, text string) {
		signature := signContent(hmacKey, fmt.Appendf(nil, "%s.%s.%s", deliveryID, text, payload))
		h := header("webhook-id", deliveryID, "webhook-timestamp", text, "webhook-signature", signature)
		_, err := verify(k, h, payload, now)
		near := false
		if n, ok := new(big.Int).SetString(text, 10); ok && plain.MatchString(text) && len(text) == len(n.String()) {
			near = n.Sub(n, big.NewInt(now.Unix())).CmpAbs(big.NewInt(300)) <= 0
		}
		require.Equal(t, near, err == nil, "%v", err)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		require.NoError(t, library.VerifyIgnoringTimestamp(payload, h))
	})
}

// FuzzBody: a signature over any body verifies, here and in the reference library, and over none that differs from it, be it by
// one byte changed, put in or left out.
func FuzzBody(f *testing.F) {
	k := setup(f)
	library := reference(f, hmacKey)
	for _, body := range []string{"", "{}", string(payload), "1614265330.{}", ".", "\x00", "\xff\xfe", `{"a":"é"}`, strings.Repeat("x", 5000)} {
		f.Add([]byte(body), uint16(0), byte(1))
	}
	f.Add(payload, uint16(7), byte(0))
	f.Fuzz(func(t *testing.T, body []byte, at uint16, value byte) {
		i := int(at) % (len(body) + 1)
		altered := [][]byte{slices.Insert(slices.Clone(body), i, value)}
		if i < len(body) {
			altered = append(altered, slices.Delete(slices.Clone(body), i, i+1))
			changed := slices.Clone(body)
			changed[i] = value
			if !bytes.Equal(changed, body) {
				altered = append(altered, changed)
			}
		}
		byLibrary, err := library.Sign(deliveryID, now, body)
		require.NoError(t, err)
		require.Equal(t, byLibrary, signHMAC(hmacKey, deliveryID, now, body))
		for _, signature := range []string{byLibrary, signEd25519(privateKey, deliveryID, now, body)} {
			h := signedHeader(deliveryID, now, signature)
			_, err = verify(k, h, body, now)
			require.NoError(t, err)
			for _, other := range altered {
				_, err = verify(k, h, other, now)
				require.ErrorIs(t, err, webhookauth.ErrWrongSignature)
			}
		}
	})
}

// FuzzID: of all ids, signed by the reference library, exactly those of the documented form are accepted, and the signature is
// for no other id.
func FuzzID(f *testing.F) {
	k := setup(f)
	library := reference(f, hmacKey)
	for _, id := range []string{
		deliveryID, longID, longID + "x", "", " ", "a b", "a.b", ".", "é", "a\n", "\x00", "\x7f", "!", "~", "1614265330", "a,b", "/", "-",
		deliveryID + ".1614265330",
	} {
		f.Add(id, "other")
	}
	f.Add("a", "A")
	f.Fuzz(func(t *testing.T, id, other string) {
		signature, err := library.Sign(id, now, payload)
		require.NoError(t, err)
		_, err = verify(k, signedHeader(id, now, signature), payload, now)
		require.Equal(t, isSignedID(id), err == nil, "%v", err)
		if err != nil {
			requireRefusal(t, err)
		}
		if id != other {
			h := signedHeader(other, now, signature)
			_, err = verify(k, h, payload, now)
			requireRefusal(t, err)
			require.Error(t, library.VerifyIgnoringTimestamp(payload, h))
		}
	})
}

func isSignedID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' || id[i] == '.' {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 128
}

// requireRefusal: every error is one of the words that metrics and logs expect.
func requireRefusal(t *testing.T, err error) {
	t.Helper()
	require.Contains(t, []error{
		webhookauth.ErrNoCredentials, webhookauth.ErrRepeatedHeader, webhookauth.ErrWrongSecret,
		webhookauth.ErrIDMissing, webhookauth.ErrIDMalformed,
		webhookauth.ErrTimestampMissing, webhookauth.ErrTimestampMalformed, webhookauth.ErrTimestampTooOld, webhookauth.ErrTimestampTooNew,
		webhookauth.ErrSignatureMalformed, webhookauth.ErrNoKey, webhookauth.ErrWrongSignature,
	}, err)
}
