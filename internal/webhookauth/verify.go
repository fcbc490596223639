package webhookauth

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The headers.
const (
	HeaderSecret    = "X-Webhook-Secret" //nolint:gosec // a name, no credential
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far webhook-timestamp may be from now, in either direction. A difference of exactly Tolerance still passes.
const Tolerance = 5 * time.Minute

const (
	// maxSignatureHeader is a size in bytes.
	maxSignatureHeader = 4 << 10
	// maxSignatures and maxEd25519 bound what a stranger can make us compute. A v1 signature costs one comparison; a v1a signature costs
	// one verification with each key. A real sender sends one signature of a version, or two while it changes its key.
	maxSignatures = 16
	maxEd25519    = 4
	// maxTimestamp is a number of digits. It is far beyond any time that can pass, and far from an overflow.
	maxTimestamp = 12
)

// signedIDPattern allows no full stop, as the specification advises. The signed text is id.timestamp.body: with a full stop in the id, one
// signature would fit several such triples.
var signedIDPattern = regexp.MustCompile(`^[!-\-/-~]{1,128}$`)

// Method is how a sender was authenticated.
type Method string

// The methods.
const (
	MethodSecret Method = "secret"
	// MethodSignature also vouches for webhook-id and webhook-timestamp, and for every byte of the body.
	MethodSignature Method = "signature"
)

// Sender is who sent an authenticated webhook.
type Sender struct {
	// Method is how the sender was authenticated. It is MethodSignature when both the secret and the signature are right.
	Method Method
	// Key names the secret or key that authenticated the sender, for rate limits and logs. It reveals nothing about it. "secret#2" is the
	// shared secret in the second position among all entries. "v1#1a2b3c4d" and "v1a#1a2b3c4d" are keys by their fingerprints, which stay
	// the same when entries move.
	Key string
	// SignatureErr is the Refusal of a signature that came beside a right secret: the sender signs, and does it wrongly. It is nil when
	// there was no signature, and when the keyring has no signature keys to judge it by.
	SignatureErr error
}

// Claim is a request whose headers may be right. The zero Claim never verifies.
type Claim struct {
	secret       string // the name of the shared secret in the request; "" for none
	signed       *signed
	signatureErr error
}

type signed struct {
	prefix  string   // "id.timestamp.", the part of the signed text before the body
	hmacs   []string // as they were sent, in base64
	ed25519 [][]byte
	keys    []key // those that may have made one of the signatures
}

// Check looks only at the headers. It returns a Refusal when no body could make the request right. The zero Keyring refuses everything.
//
// Whether a key is in its window of validity depends on now, and not on the signed timestamp: the holder of an expired key would choose the
// timestamp.
func (k *Keyring) Check(header http.Header, now time.Time) (Claim, error) {
	name, secretErr := k.checkSecret(header)
	signed, signatureErr := k.checkSignature(header, now)
	unsigned := errors.Is(signatureErr, ErrNoCredentials)
	switch {
	case secretErr != nil && signatureErr != nil:
		// A signature says more about the sender than a secret does, unless there is no key to judge it by.
		if unsigned || len(k.keys) == 0 && !errors.Is(secretErr, ErrNoCredentials) {
			return Claim{}, secretErr
		}
		return Claim{}, signatureErr
	case unsigned || len(k.keys) == 0:
		signatureErr = nil
	}
	return Claim{secret: name, signed: signed, signatureErr: signatureErr}, nil
}

// Trusted says whether the headers alone prove the sender, by a shared secret. Verify then succeeds with any body.
func (c Claim) Trusted() bool { return c.secret != "" }

// Verify says who sent the body, which must be complete and unchanged. The error is a Refusal.
func (c Claim) Verify(body []byte) (Sender, error) {
	signatureErr := c.signatureErr
	if c.signed != nil {
		if name := c.signed.verify(body); name != "" {
			return Sender{Method: MethodSignature, Key: name}, nil
		}
		signatureErr = ErrWrongSignature
	}
	switch {
	case c.secret != "":
		return Sender{Method: MethodSecret, Key: c.secret, SignatureErr: signatureErr}, nil
	case signatureErr != nil:
		return Sender{}, signatureErr
	}
	return Sender{}, ErrNoCredentials
}

// checkSecret compares the hash of the given secret with those of all secrets. All hashes have one length, so the time taken reveals
// nothing.
func (k *Keyring) checkSecret(header http.Header) (name string, err error) {
	if len(k.secrets) == 0 {
		return "", ErrNoCredentials
	}
	given, err := single(header, HeaderSecret, ErrNoCredentials)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(given))
	match := -1
	for i := range k.secrets {
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], k.secrets[i].hash[:]), i, match)
	}
	if match < 0 {
		return "", ErrWrongSecret
	}
	return k.secrets[match].name, nil
}

func (k *Keyring) checkSignature(header http.Header, now time.Time) (*signed, error) {
	signatures, err := single(header, HeaderSignature, ErrNoCredentials)
	if err != nil {
		return nil, err
	}
	if len(k.keys) == 0 {
		return nil, ErrNoKey
	}
	id, err := single(header, HeaderID, ErrIDMissing)
	if err != nil {
		return nil, err
	}
	timestamp, err := single(header, HeaderTimestamp, ErrTimestampMissing)
	if err != nil {
		return nil, err
	}
	if !signedIDPattern.MatchString(id) {
		return nil, ErrIDMalformed
	}
	if err := checkTimestamp(timestamp, now); err != nil {
		return nil, err
	}
	s := &signed{prefix: id + "." + timestamp + "."}
	if err := s.readSignatures(signatures); err != nil {
		return nil, err
	}
	for _, key := range k.keys {
		sent := key.version == versionHMAC && len(s.hmacs) > 0 || key.version == versionEd25519 && len(s.ed25519) > 0
		if sent && key.validAt(now) {
			s.keys = append(s.keys, key)
		}
	}
	if len(s.keys) == 0 {
		return nil, ErrNoKey
	}
	return s, nil
}

// single returns the value of a header that must come once. An empty header counts as missing, as in the reference library.
func single(header http.Header, name string, absent Refusal) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) > 1:
		return "", ErrRepeatedHeader
	case len(values) == 0 || values[0] == "":
		return "", absent
	}
	return values[0], nil
}

// checkTimestamp accepts each number in one form only, without sign and leading zeros, so that what was sent is exactly what was signed.
func checkTimestamp(text string, now time.Time) error {
	if len(text) > maxTimestamp || len(text) > 1 && text[0] == '0' {
		return ErrTimestampMalformed
	}
	seconds, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return ErrTimestampMalformed
	}
	sent := time.Unix(int64(seconds), 0)
	switch {
	case now.Sub(sent) > Tolerance:
		return ErrTimestampTooOld
	case sent.Sub(now) > Tolerance:
		return ErrTimestampTooNew
	}
	return nil
}

// readSignatures ignores versions that it does not know, as the specification asks, and texts that cannot be a signature of their version.
func (s *signed) readSignatures(text string) error {
	if len(text) > maxSignatureHeader || strings.Count(text, " ") >= maxSignatures {
		return ErrSignatureMalformed
	}
	for one := range strings.SplitSeq(text, " ") {
		switch version, encoded, _ := strings.Cut(one, ","); version {
		case versionHMAC:
			if len(encoded) == base64.StdEncoding.EncodedLen(sha256.Size) {
				s.hmacs = append(s.hmacs, encoded)
			}
		case versionEd25519:
			// Strict and of one length, so that no two texts are the same signature.
			signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
			if err == nil && len(signature) == ed25519.SignatureSize && len(encoded) == base64.StdEncoding.EncodedLen(ed25519.SignatureSize) {
				s.ed25519 = append(s.ed25519, signature)
			}
		}
	}
	if len(s.hmacs)+len(s.ed25519) == 0 || len(s.ed25519) > maxEd25519 {
		return ErrSignatureMalformed
	}
	return nil
}

// verify returns the name of the key that made one of the signatures, or "".
func (s *signed) verify(body []byte) string {
	var content []byte // in one piece, which only Ed25519 needs
	for _, key := range s.keys {
		switch key.version {
		case versionHMAC:
			if s.verifyHMAC(key.bytes, body) {
				return key.name
			}
		case versionEd25519:
			if content == nil {
				content = append([]byte(s.prefix), body...)
			}
			for _, signature := range s.ed25519 {
				if ed25519.Verify(key.bytes, content, signature) {
					return key.name
				}
			}
		}
	}
	return ""
}

// verifyHMAC compares the base64 forms, as the reference library does, so that no two texts are the same signature.
func (s *signed) verifyHMAC(key, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(s.prefix))
	mac.Write(body)
	want := base64.StdEncoding.AppendEncode(nil, mac.Sum(nil))
	for _, sent := range s.hmacs {
		if hmac.Equal(want, []byte(sent)) {
			return true
		}
	}
	return false
}
