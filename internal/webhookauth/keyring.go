// Package webhookauth says whether a webhook comes from a sender that the operator knows. A sender is known by a shared secret in a header,
// or by a signature of Standard Webhooks 1.0.0 over the raw body. The headers are checked before the body is read, so most of what
// strangers send is refused without reading it.
package webhookauth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"filippo.io/edwards25519"
)

const (
	hmacPrefix       = "whsec_"
	publicKeyPrefix  = "whpk_"
	privateKeyPrefix = "whsk_"

	// minHMACKey and maxHMACKey are the bounds of the specification, in bytes.
	minHMACKey = 24
	maxHMACKey = 64
)

// Mode says which kinds of credentials are accepted.
type Mode string

// The modes.
const (
	// ModeAny accepts a shared secret or a signature. It is meant for senders that move from one to the other.
	ModeAny Mode = "any"
	// ModeSecret accepts only shared secrets, and ignores signatures.
	ModeSecret Mode = "secret"
	// ModeSignature accepts only signatures, and ignores shared secrets.
	ModeSignature Mode = "signature"
)

// Keyring holds the secrets and keys that senders are known by. It never changes, so any number of goroutines may use it.
type Keyring struct {
	secrets []secret
	keys    []key
}

type secret struct {
	name string
	hash [sha256.Size]byte
}

// The versions of signatures.
const (
	versionHMAC    = "v1"
	versionEd25519 = "v1a"
)

type key struct {
	name    string
	version string
	// bytes is the HMAC key or the Ed25519 public key.
	bytes []byte
	// notBefore and notAfter bound the time in which the key is used; both moments are included. The zero time is no bound.
	notBefore, notAfter time.Time
}

func (k *key) validAt(now time.Time) bool {
	return !now.Before(k.notBefore) && (k.notAfter.IsZero() || !now.After(k.notAfter))
}

// Parse reads the entries of a keyring:
//
//	whsec_<base64>   a key of HMAC-SHA256 signatures (v1), 24 to 64 bytes
//	whpk_<base64>    a public key of Ed25519 signatures (v1a), 32 bytes
//	any other        a shared secret, taken literally
//
// A signature key may end in @NOT_BEFORE/NOT_AFTER. Both are RFC 3339 times and included, and one of them may be left out. The key is not
// used outside that window. The base64 is of the standard alphabet, with or without padding (the Go reference library requires padding).
//
// Parse refuses a private key (whsk_…), an empty entry, white space, an entry that is given twice, and an Ed25519 key whose signatures
// anybody can forge. The error names the entry by its position, from 1, and says what is accepted. It never quotes any part of an entry.
func Parse(entries []string) (*Keyring, error) {
	if len(entries) == 0 {
		return nil, errors.New("there is no entry: want at least one shared secret, whsec_ key or whpk_ key")
	}
	k := &Keyring{}
	positions := map[string]int{} // positions of the entries so far, by their content
	for i, entry := range entries {
		position := i + 1
		content, err := k.add(entry, position)
		if err != nil {
			return nil, fmt.Errorf("entry %d %w", position, err)
		}
		if first, repeated := positions[content]; repeated {
			return nil, fmt.Errorf("entry %d repeats entry %d: give each secret and each key once", position, first)
		}
		positions[content] = position
	}
	return k, nil
}

// add returns the content that makes two entries the same. A key with another window or other padding is the same key.
func (k *Keyring) add(entry string, position int) (content string, err error) {
	switch {
	case entry == "":
		return "", errors.New("is empty")
	case strings.ContainsFunc(entry, unicode.IsSpace):
		return "", errors.New("contains white space")
	case strings.HasPrefix(entry, privateKeyPrefix):
		return "", errors.New("is a private key, which belongs to the sender alone: give the public key, whpk_ and the base64 form of its 32 bytes")
	}
	var one key
	switch {
	case strings.HasPrefix(entry, hmacPrefix):
		one, err = parseKey(versionHMAC, strings.TrimPrefix(entry, hmacPrefix))
	case strings.HasPrefix(entry, publicKeyPrefix):
		one, err = parseKey(versionEd25519, strings.TrimPrefix(entry, publicKeyPrefix))
	default:
		// A shared secret is named by its position and not by a fingerprint: it may be weak, and a reader of the log could guess it from
		// one.
		k.secrets = append(k.secrets, secret{name: fmt.Sprintf("secret#%d", position), hash: sha256.Sum256([]byte(entry))})
		return "secret " + entry, nil
	}
	if err != nil {
		return "", err
	}
	k.keys = append(k.keys, one)
	return one.version + " " + string(one.bytes), nil
}

func parseKey(version, text string) (key, error) {
	encoded, window, bounded := strings.Cut(text, "@")
	bytes, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		bytes, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	switch {
	case version == versionHMAC && (err != nil || len(bytes) < minHMACKey || len(bytes) > maxHMACKey):
		return key{}, errors.New("is not a key of signatures: want whsec_ and the base64 form of 24 to 64 bytes")
	case version == versionEd25519 && (err != nil || !isPublicKey(bytes)):
		return key{}, errors.New("is not an Ed25519 public key: want whpk_ and the base64 form of its 32 bytes")
	}
	k := key{name: fingerprint(version, bytes), version: version, bytes: bytes}
	if bounded {
		if k.notBefore, k.notAfter, err = parseWindow(window); err != nil {
			return key{}, err
		}
	}
	return k, nil
}

// isPublicKey says whether the bytes are a usable Ed25519 public key. It refuses what is no point of the curve, because it verifies
// nothing, and the few points of small order (such as 32 zero bytes), because with these anything verifies.
func isPublicKey(bytes []byte) bool {
	if len(bytes) != ed25519.PublicKeySize {
		return false
	}
	point, err := new(edwards25519.Point).SetBytes(bytes)
	return err == nil && new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 0
}

// fingerprint names a key. It does not depend on the key's position or on who computes it, and tells nothing about a random key of 24 bytes
// or more.
func fingerprint(version string, bytes []byte) string {
	hash := sha256.Sum256(append([]byte("storekeeper webhook key "+version+" "), bytes...))
	return version + "#" + hex.EncodeToString(hash[:4])
}

func parseWindow(window string) (notBefore, notAfter time.Time, err error) {
	from, to, ok := strings.Cut(window, "/")
	ok = ok && from+to != ""
	if from != "" {
		notBefore, err = time.Parse(time.RFC3339, from)
		ok = ok && err == nil
	}
	if to != "" {
		notAfter, err = time.Parse(time.RFC3339, to)
		ok = ok && err == nil
	}
	if !ok || to != "" && !notBefore.Before(notAfter) {
		return time.Time{}, time.Time{}, errors.New("has no window of validity after its @: want NOT_BEFORE/NOT_AFTER, " +
			"RFC 3339 times such as 2026-11-24T00:00:00Z, the first before the second, one of which may be left out")
	}
	return notBefore, notAfter, nil
}

// ForMode returns the part of the keyring that the mode accepts. It is an error if that part is empty, because no request could pass, or if
// there is no such mode.
func (k *Keyring) ForMode(mode Mode) (*Keyring, error) {
	switch mode {
	case ModeAny:
		return k, nil
	case ModeSecret:
		if len(k.secrets) == 0 {
			return nil, errors.New("the mode secret needs an entry that is a shared secret")
		}
		return &Keyring{secrets: k.secrets}, nil
	case ModeSignature:
		if len(k.keys) == 0 {
			return nil, errors.New("the mode signature needs an entry that is a whsec_ or whpk_ key")
		}
		return &Keyring{keys: k.keys}, nil
	}
	return nil, errors.New("there is no such mode: want any, secret or signature")
}
