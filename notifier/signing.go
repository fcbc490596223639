package notifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	symmetricPrefix  = "whsec_"
	privateKeyPrefix = "whsk_"
	publicKeyPrefix  = "whpk_"

	// The sizes of symmetric keys that the specification allows, in bytes.
	minSymmetricKey = 24
	maxSymmetricKey = 64
)

// keys are what requests are authenticated with.
type keys struct {
	shared  string // "" means none
	signers []signer
}

// signer returns one signature of the content, with its version, as a part of the header webhook-signature.
type signer func(content []byte) string

func (k keys) none() bool { return k.shared == "" && len(k.signers) == 0 }

// parseKeys reads a setting of the form that Options.Secret describes. Its errors quote nothing of it.
func parseKeys(setting string) (k keys, _ error) {
	if strings.TrimSpace(setting) == "" {
		return k, nil
	}
	number := 0
	for entry := range strings.SplitSeq(setting, ",") {
		number++
		entry = strings.TrimSpace(entry)
		sign, err := parseSigner(entry)
		switch {
		case err != nil:
			return keys{}, fmt.Errorf("entry %d %w", number, err)
		case sign != nil:
			k.signers = append(k.signers, sign)
		case k.shared == "":
			k.shared = entry
		}
	}
	return k, nil
}

// parseSigner returns the signer of one entry; nil, without an error, for a shared secret.
func parseSigner(entry string) (signer, error) {
	kind := prefixOf(entry)
	switch {
	case entry == "":
		return nil, errors.New("is empty")
	case !printable(entry):
		return nil, errors.New("has characters that are not printable ASCII, or white space")
	case kind == "":
		return nil, nil //nolint:nilnil // a shared secret
	case kind == publicKeyPrefix:
		return nil, errors.New("is a public key, which can't sign: the sender has the private one, whsk_…")
	case strings.Contains(entry, "@"):
		return nil, errors.New("has a validity window: only the receiver's keys have one")
	}
	encoded := strings.TrimPrefix(entry, kind)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	if err != nil {
		return nil, errors.New("is not of base64 after its prefix")
	}
	if kind == symmetricPrefix {
		if len(key) < minSymmetricKey || len(key) > maxSymmetricKey {
			return nil, errors.New("is no whsec_ key of 24 to 64 bytes")
		}
		return symmetric(key), nil
	}
	if len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("is no whsk_ key of 32 or 64 bytes")
	}
	private := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
	if len(key) == ed25519.PrivateKeySize && !bytes.Equal(private, key) {
		return nil, errors.New("is a whsk_ key whose public half belongs to another one")
	}
	return asymmetric(private), nil
}

func prefixOf(entry string) string {
	for _, prefix := range []string{symmetricPrefix, privateKeyPrefix, publicKeyPrefix} {
		if strings.HasPrefix(entry, prefix) {
			return prefix
		}
	}
	return ""
}

func symmetric(key []byte) signer {
	return func(content []byte) string {
		h := hmac.New(sha256.New, key)
		h.Write(content)
		return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
}

func asymmetric(key ed25519.PrivateKey) signer {
	return func(content []byte) string {
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, content))
	}
}

// header returns the headers of one attempt, which is made at that moment.
func (n *Notifier) header(id string, at time.Time, body []byte) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("X-Client-Name", n.clientName)
	h.Set("Webhook-Id", id)
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("Webhook-Timestamp", timestamp)
	content := append([]byte(id+"."+timestamp+"."), body...)
	var signatures []string
	for _, sign := range n.keys.signers {
		signatures = append(signatures, sign(content))
	}
	if len(signatures) > 0 {
		h.Set("Webhook-Signature", strings.Join(signatures, " "))
	}
	if n.keys.shared != "" {
		h.Set("X-Webhook-Secret", n.keys.shared)
	}
	return h
}
