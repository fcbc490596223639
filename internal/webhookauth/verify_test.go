package webhookauth_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	right := signHMAC(hmacKey, deliveryID, now, payload)
	wrong := signHMAC(otherHMAC, deliveryID, now, payload)
	ed := signEd25519(privateKey, deliveryID, now, payload)
	wrongEd := signEd25519(otherKey, deliveryID, now, payload)
	long := strings.Repeat("x", 129)
	stamp := strconv.FormatInt(now.Unix(), 10)
	withTimestamp := func(timestamp string) http.Header {
		return header("webhook-id", deliveryID, "webhook-timestamp", timestamp, "webhook-signature", right)
	}
	withSignature := func(signature string) http.Header { return signedHeader(deliveryID, now, signature) }
	withID := func(id string) http.Header { return signedHeader(id, now, signHMAC(hmacKey, id, now, payload)) }
	and := func(h http.Header, name, value string) http.Header {
		h.Add(name, value)
		return h
	}
	for name, c := range map[string]struct {
		header http.Header
		want   webhookauth.Refusal
	}{
		"without any header":                         {header(), webhookauth.ErrNoCredentials},
		"with an id alone":                           {header("webhook-id", deliveryID), webhookauth.ErrNoCredentials},
		"with an empty secret":                       {header("x-webhook-secret", ""), webhookauth.ErrNoCredentials},
		"with an empty signature":                    {withSignature(""), webhookauth.ErrNoCredentials},
		"with a wrong secret":                        {header("x-webhook-secret", "wrong"), webhookauth.ErrWrongSecret},
		"with a secret cut off at its @":             {header("x-webhook-secret", "hook-secret"), webhookauth.ErrWrongSecret},
		"with the entry of a key as the secret":      {header("x-webhook-secret", hmacEntry(hmacKey)), webhookauth.ErrWrongSecret},
		"with two secrets, one of them right":        {header("x-webhook-secret", sharedSecret, "x-webhook-secret", "wrong"), webhookauth.ErrRepeatedHeader},
		"with a wrong secret and a wrong signature":  {and(withSignature(wrong), "x-webhook-secret", "wrong"), webhookauth.ErrWrongSignature},
		"with a wrong secret and a bad timestamp":    {and(withTimestamp("now"), "x-webhook-secret", "wrong"), webhookauth.ErrTimestampMalformed},
		"with two ids":                               {and(withSignature(right), "webhook-id", "other"), webhookauth.ErrRepeatedHeader},
		"with the same id twice":                     {and(withSignature(right), "webhook-id", deliveryID), webhookauth.ErrRepeatedHeader},
		"with two timestamps":                        {and(withSignature(right), "webhook-timestamp", stamp), webhookauth.ErrRepeatedHeader},
		"with two signature headers":                 {and(withSignature(right), "webhook-signature", right), webhookauth.ErrRepeatedHeader},
		"signed, without an id":                      {header("webhook-timestamp", stamp, "webhook-signature", right), webhookauth.ErrIDMissing},
		"signed, with an empty id":                   {withID(""), webhookauth.ErrIDMissing},
		"signed, with a space in the id":             {withID("a b"), webhookauth.ErrIDMalformed},
		"signed, with a full stop in the id":         {withID("a.b"), webhookauth.ErrIDMalformed},
		"signed, with an id that is not ASCII":       {withID("é"), webhookauth.ErrIDMalformed},
		"signed, with a control character in the id": {withID("a\x7f"), webhookauth.ErrIDMalformed},
		"signed, with a line break after the id":     {withID("a\n"), webhookauth.ErrIDMalformed},
		"signed, with an id of 129 characters":       {withID(long), webhookauth.ErrIDMalformed},
		"signed, with another id":                    {signedHeader("msg_2", now, right), webhookauth.ErrWrongSignature},
		"signed, without a timestamp":                {header("webhook-id", deliveryID, "webhook-signature", right), webhookauth.ErrTimestampMissing},
		"signed, with an empty timestamp":            {withTimestamp(""), webhookauth.ErrTimestampMissing},
		"with a sign before the timestamp":           {withTimestamp("+" + stamp), webhookauth.ErrTimestampMalformed},
		"with a negative timestamp":                  {withTimestamp("-" + stamp), webhookauth.ErrTimestampMalformed},
		"with a leading zero":                        {withTimestamp("0" + stamp), webhookauth.ErrTimestampMalformed},
		"with a space before the timestamp":          {withTimestamp(" " + stamp), webhookauth.ErrTimestampMalformed},
		"with a space after the timestamp":           {withTimestamp(stamp + " "), webhookauth.ErrTimestampMalformed},
		"with a fraction of a second":                {withTimestamp(stamp + ".0"), webhookauth.ErrTimestampMalformed},
		"with an exponent":                           {withTimestamp("1e9"), webhookauth.ErrTimestampMalformed},
		"with an underscore in the timestamp":        {withTimestamp("1_614_265_330"), webhookauth.ErrTimestampMalformed},
		"with a hexadecimal timestamp":               {withTimestamp("0x60376b72"), webhookauth.ErrTimestampMalformed},
		"with digits that are not ASCII":             {withTimestamp("１６１４２６５３３０"), webhookauth.ErrTimestampMalformed},
		"with an RFC 3339 timestamp":                 {withTimestamp("2021-02-25T15:02:10Z"), webhookauth.ErrTimestampMalformed},
		"with a timestamp of 13 digits":              {withTimestamp("1614265330000"), webhookauth.ErrTimestampMalformed},
		"with a timestamp beyond 64 bits":            {withTimestamp("99999999999999999999"), webhookauth.ErrTimestampMalformed},
		"with a timestamp of 12 digits":              {withTimestamp("999999999999"), webhookauth.ErrTimestampTooNew},
		"with the timestamp 0":                       {withTimestamp("0"), webhookauth.ErrTimestampTooOld},
		"with another timestamp within 5 minutes":    {withTimestamp("1614265331"), webhookauth.ErrWrongSignature},
		"signed with another key":                    {withSignature(wrong), webhookauth.ErrWrongSignature},
		"signed with another private key":            {withSignature(wrongEd), webhookauth.ErrWrongSignature},
		"signed for another body":                    {withSignature(signHMAC(hmacKey, deliveryID, now, []byte("{}"))), webhookauth.ErrWrongSignature},
		"signed v1a for another body":                {withSignature(signEd25519(privateKey, deliveryID, now, []byte("{}"))), webhookauth.ErrWrongSignature},
		"with unknown versions of signatures alone":  {withSignature("v2," + right[3:] + " v1b," + right[3:]), webhookauth.ErrSignatureMalformed},
		"with a version in capitals":                 {withSignature("V1," + right[3:]), webhookauth.ErrSignatureMalformed},
		"with a v1 signature called v1a":             {withSignature("v1a," + right[3:]), webhookauth.ErrSignatureMalformed},
		"with a signature without a version":         {withSignature(right[3:]), webhookauth.ErrSignatureMalformed},
		"with a signature without a comma":           {withSignature("v1" + right[3:]), webhookauth.ErrSignatureMalformed},
		"with a version alone":                       {withSignature("v1,"), webhookauth.ErrSignatureMalformed},
		"with part of a signature":                   {withSignature(right[:20]), webhookauth.ErrSignatureMalformed},
		"with a signature without its padding":       {withSignature(strings.TrimRight(right, "=")), webhookauth.ErrSignatureMalformed},
		"with something after the signature":         {withSignature(right + ",more"), webhookauth.ErrSignatureMalformed},
		"with signatures separated by commas":        {withSignature(right + "," + right), webhookauth.ErrSignatureMalformed},
		"with a signature of zero bytes":             {withSignature("v1," + b64(make([]byte, 32))), webhookauth.ErrWrongSignature},
		"with other bits behind the last byte":       {withSignature(right[:len(right)-2] + nextDigit(right[len(right)-2]) + "="), webhookauth.ErrWrongSignature},
		"with other bits behind the last of v1a":     {withSignature(ed[:len(ed)-3] + nextDigit(ed[len(ed)-3]) + "=="), webhookauth.ErrSignatureMalformed},
		"with a line break within a v1a signature":   {withSignature(ed[:9] + "\n" + ed[9:]), webhookauth.ErrSignatureMalformed},
		"with a signature header over 4 KiB":         {withSignature(right + " " + strings.Repeat("x", 4097-len(right)-1)), webhookauth.ErrSignatureMalformed},
		"with 17 signatures, the first one right":    {withSignature(right + strings.Repeat(" "+wrong, 16)), webhookauth.ErrSignatureMalformed},
		"with 5 v1a signatures, the first one right": {withSignature(ed + strings.Repeat(" "+wrongEd, 4)), webhookauth.ErrSignatureMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sender, err := verify(setup(t), c.header, payload, now)
			require.ErrorIs(t, err, c.want)
			require.Zero(t, sender)
		})
	}
}

// nextDigit is the next one of base64's alphabet among letters and digits that are not the last of their kind.
func nextDigit(c byte) string { return string(c + 1) }

func TestRequestsThatAreAccepted(t *testing.T) {
	t.Parallel()
	hmac := signHMAC(hmacKey, deliveryID, now, payload)
	wrong := signHMAC(otherHMAC, deliveryID, now, payload)
	ed := signEd25519(privateKey, deliveryID, now, payload)
	wrongEd := signEd25519(otherKey, deliveryID, now, payload)
	const secretName, hmacName, edName = "secret#1", "v1#9d3c1954", "v1a#1596e21b"
	withSecret := func(secret string, h http.Header) http.Header {
		h.Set("x-webhook-secret", secret)
		return h
	}
	signed := func(signature string) http.Header { return signedHeader(deliveryID, now, signature) }
	unknown := webhookauth.Sender{Method: webhookauth.MethodSecret, Key: secretName}
	bad := func(err error) webhookauth.Sender {
		return webhookauth.Sender{Method: webhookauth.MethodSecret, Key: secretName, SignatureErr: err}
	}
	byHMAC := webhookauth.Sender{Method: webhookauth.MethodSignature, Key: hmacName}
	byEd := webhookauth.Sender{Method: webhookauth.MethodSignature, Key: edName}
	for name, c := range map[string]struct {
		header http.Header
		want   webhookauth.Sender
	}{
		"a shared secret":                              {withSecret(sharedSecret, header()), unknown},
		"a shared secret with an id":                   {withSecret(sharedSecret, header("webhook-id", "any.id")), unknown},
		"a shared secret with an empty signature":      {withSecret(sharedSecret, signed("")), unknown},
		"a v1 signature":                               {signed(hmac), byHMAC},
		"a v1a signature":                              {signed(ed), byEd},
		"a signature and the right secret":             {withSecret(sharedSecret, signed(hmac)), byHMAC},
		"a signature and a wrong secret":               {withSecret("wrong", signed(hmac)), byHMAC},
		"the right secret and a wrong signature":       {withSecret(sharedSecret, signed(wrong)), bad(webhookauth.ErrWrongSignature)},
		"the right secret and a malformed signature":   {withSecret(sharedSecret, signed("v1")), bad(webhookauth.ErrSignatureMalformed)},
		"the right secret and an old signature":        {withSecret(sharedSecret, signedHeader(deliveryID, now.Add(-time.Hour), hmac)), bad(webhookauth.ErrTimestampTooOld)},
		"the right secret and a signature without id":  {withSecret(sharedSecret, header("webhook-signature", hmac)), bad(webhookauth.ErrIDMissing)},
		"a right signature after a wrong one":          {signed(wrong + " " + hmac), byHMAC},
		"a right signature before a wrong one":         {signed(hmac + " " + wrong), byHMAC},
		"a right signature of the other version":       {signed(wrong + " " + ed), byEd},
		"a right v1 signature after a wrong v1a one":   {signed(wrongEd + " " + hmac), byHMAC},
		"both, of which the first entry's key counts":  {signed(ed + " " + hmac), byHMAC},
		"a right signature after unknown versions":     {signed("v2," + hmac[3:] + " v1b,x w " + hmac), byHMAC},
		"a right signature after malformed ones":       {signed("v1, v1 v1a, v1a,AAAA , " + hmac), byHMAC},
		"a right signature between spaces":             {signed("  " + hmac + " "), byHMAC},
		"16 signatures, the last one right":            {signed(strings.Repeat(wrong+" ", 15) + hmac), byHMAC},
		"4 v1a signatures, the last one right":         {signed(strings.Repeat(wrongEd+" ", 3) + ed), byEd},
		"an id of one character":                       {signedHeader("!", now, signHMAC(hmacKey, "!", now, payload)), byHMAC},
		"an id of 128 characters with all punctuation": {signedHeader(longID, now, signHMAC(hmacKey, longID, now, payload)), byHMAC},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sender, err := verify(setup(t), c.header, payload, now)
			require.NoError(t, err)
			require.Equal(t, c.want, sender)
		})
	}
}

var longID = `!"#$%&'()*+,-/:;<=>?@[\]^_{|}~` + "`" + strings.Repeat("x", 97)

func TestTheTimestampMayBeFiveMinutesOffToBothSides(t *testing.T) {
	t.Parallel()
	k := setup(t)
	for _, sign := range []func(id string, at time.Time, body []byte) string{
		func(id string, at time.Time, body []byte) string { return signHMAC(hmacKey, id, at, body) },
		func(id string, at time.Time, body []byte) string { return signEd25519(privateKey, id, at, body) },
	} {
		h := signedHeader(deliveryID, now, sign(deliveryID, now, payload))
		for name, c := range map[string]struct {
			at   time.Time
			want error
		}{
			"at once":                        {now, nil},
			"after five minutes":             {now.Add(5 * time.Minute), nil},
			"after five minutes and a bit":   {now.Add(5*time.Minute + 1), webhookauth.ErrTimestampTooOld},
			"five minutes before":            {now.Add(-5 * time.Minute), nil},
			"five minutes and a bit before":  {now.Add(-5*time.Minute - 1), webhookauth.ErrTimestampTooNew},
			"within the second that is over": {now.Add(time.Second - 1), nil},
			"in the year 9999":               {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), webhookauth.ErrTimestampTooOld},
			"in the year 1":                  {time.Time{}, webhookauth.ErrTimestampTooNew},
		} {
			_, err := verify(k, h, payload, c.at)
			require.ErrorIs(t, err, c.want, name)
		}
	}
}

// The edge reads no body before Check has passed, so all that headers alone can tell must be told there.
func TestOnlyAWrongSignatureNeedsTheBodyToBeRefused(t *testing.T) {
	t.Parallel()
	k := setup(t, hmacEntry(hmacKey)+"@/2021-02-25T15:00:00Z", publicEntry(privateKey))
	_, err := k.Check(signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload)), now)
	require.ErrorIs(t, err, webhookauth.ErrNoKey, "the key of v1 signatures is over")
	claim, err := k.Check(signedHeader(deliveryID, now, signEd25519(otherKey, deliveryID, now, payload)), now)
	require.NoError(t, err)
	_, err = claim.Verify(payload)
	require.ErrorIs(t, err, webhookauth.ErrWrongSignature)
}

func TestNoneOfOurKeysVersionIsSent(t *testing.T) {
	t.Parallel()
	v1, v1a := signHMAC(hmacKey, deliveryID, now, payload), signEd25519(privateKey, deliveryID, now, payload)
	_, err := verify(setup(t, hmacEntry(hmacKey)), signedHeader(deliveryID, now, v1a), payload, now)
	require.ErrorIs(t, err, webhookauth.ErrNoKey)
	_, err = verify(setup(t, publicEntry(privateKey)), signedHeader(deliveryID, now, v1), payload, now)
	require.ErrorIs(t, err, webhookauth.ErrNoKey)
	_, err = verify(setup(t, sharedSecret), signedHeader(deliveryID, now, v1), payload, now)
	require.ErrorIs(t, err, webhookauth.ErrNoKey)
}

func TestAKeyringWithoutKeysSaysNothingOfSignatures(t *testing.T) {
	t.Parallel()
	h := signedHeader(deliveryID, now, "v1,wrong")
	h.Set("X-Webhook-Secret", sharedSecret)
	sender, err := verify(setup(t, sharedSecret), h, payload, now)
	require.NoError(t, err)
	require.Equal(t, webhookauth.Sender{Method: webhookauth.MethodSecret, Key: "secret#1"}, sender)

	h.Set("X-Webhook-Secret", "wrong")
	_, err = verify(setup(t, sharedSecret), h, payload, now)
	require.ErrorIs(t, err, webhookauth.ErrWrongSecret)
	h.Del("X-Webhook-Secret")
	_, err = verify(setup(t, sharedSecret), h, payload, now)
	require.ErrorIs(t, err, webhookauth.ErrNoKey, "it has nothing else")
}

func TestWhileRotatingOldAndNewAreAccepted(t *testing.T) {
	t.Parallel()
	entries := []string{"old-secret", hmacEntry(hmacKey), "new-secret", hmacEntry(otherHMAC), publicEntry(privateKey), publicEntry(otherKey)}
	k := setup(t, entries...)
	names := map[string]bool{}
	for _, h := range []http.Header{
		header("X-Webhook-Secret", "old-secret"),
		header("X-Webhook-Secret", "new-secret"),
		signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload)),
		signedHeader(deliveryID, now, signHMAC(otherHMAC, deliveryID, now, payload)),
		signedHeader(deliveryID, now, signEd25519(privateKey, deliveryID, now, payload)),
		signedHeader(deliveryID, now, signEd25519(otherKey, deliveryID, now, payload)),
	} {
		sender, err := verify(k, h, payload, now)
		require.NoError(t, err)
		names[sender.Key] = true
	}
	require.Len(t, names, len(entries), "each has a name of its own")
	require.Contains(t, names, "secret#1")
	require.Contains(t, names, "secret#3", "its position among all entries")
}

func TestAKeysNameStaysWhenEntriesMove(t *testing.T) {
	t.Parallel()
	h := signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload))
	before, err := verify(setup(t, hmacEntry(hmacKey)), h, payload, now)
	require.NoError(t, err)
	after, err := verify(setup(t, hmacEntry(otherHMAC), hmacEntry(hmacKey)+"@2021-01-01T00:00:00Z/"), h, payload, now)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestNothingIsAcceptedByZeroValues(t *testing.T) {
	t.Parallel()
	var k webhookauth.Keyring
	for _, h := range []http.Header{nil, header("X-Webhook-Secret", ""), header("X-Webhook-Secret", "x")} {
		_, err := k.Check(h, now)
		require.ErrorIs(t, err, webhookauth.ErrNoCredentials)
	}
	_, err := webhookauth.Claim{}.Verify(payload)
	require.ErrorIs(t, err, webhookauth.ErrNoCredentials)
}

// The full stop between the parts must not let one signature stand for two requests.
func TestASignatureStandsForOneIDTimestampAndBodyOnly(t *testing.T) {
	t.Parallel()
	other := now.Add(time.Second)
	// id.1614265330.1614265331.{}: once with a full stop in the id, once with digits before the body.
	inID := deliveryID + "." + strconv.FormatInt(now.Unix(), 10)
	signature := signHMAC(hmacKey, inID, other, []byte("{}"))
	_, err := verify(setup(t), signedHeader(inID, other, signature), []byte("{}"), now)
	require.ErrorIs(t, err, webhookauth.ErrIDMalformed)
	_, err = verify(setup(t), signedHeader(deliveryID, now, signature), []byte("1614265331.{}"), now)
	require.NoError(t, err, "which is what was signed")
}

func TestAKeyringMayBeUsedByManyAtOnce(t *testing.T) {
	t.Parallel()
	k := setup(t)
	h := signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload)+" "+signEd25519(privateKey, deliveryID, now, payload))
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := verify(k, h, payload, now)
			results <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-results)
	}
}

func TestASecretProvesASenderWithoutTheBodyAndASignatureDoesNot(t *testing.T) {
	t.Parallel()
	k := setup(t)
	bySignature := signedHeader(deliveryID, now, signHMAC(hmacKey, deliveryID, now, payload))
	byBoth := bySignature.Clone()
	byBoth.Set("X-Webhook-Secret", sharedSecret)
	for name, test := range map[string]struct {
		header  http.Header
		trusted bool
	}{
		"a secret":       {header("X-Webhook-Secret", sharedSecret), true},
		"a signature":    {bySignature, false},
		"both":           {byBoth, true},
		"a wrong secret": {header("X-Webhook-Secret", "wrong"), false},
	} {
		claim, _ := k.Check(test.header, now)
		require.Equal(t, test.trusted, claim.Trusted(), name)
	}
}
