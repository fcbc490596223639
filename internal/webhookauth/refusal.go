package webhookauth

// Refusal is why a request is not authenticated: a word of a fixed set, fit for log lines and metric labels. Every error of Check and
// Verify is a Refusal. The sender gets the same answer for all of them, 401, and is told no more.
type Refusal string

// The refusals.
const (
	// ErrNoCredentials: the request has no header of a kind that is accepted.
	ErrNoCredentials Refusal = "credentials_missing"
	// ErrRepeatedHeader: a header that must come once came several times, and it would be a guess which one counts.
	ErrRepeatedHeader Refusal = "header_repeated"
	// ErrWrongSecret: there is a shared secret, and it is not one of ours.
	ErrWrongSecret Refusal = "secret_wrong"

	// ErrIDMissing: there is a signature and no webhook-id.
	ErrIDMissing Refusal = "id_missing"
	// ErrIDMalformed: the signed webhook-id is not 1 to 128 printable ASCII characters without spaces and full stops.
	ErrIDMalformed Refusal = "id_malformed"
	// ErrTimestampMissing: there is a signature and no webhook-timestamp.
	ErrTimestampMissing Refusal = "timestamp_missing"
	// ErrTimestampMalformed: webhook-timestamp is not a whole number of seconds since 1970 in plain decimal digits.
	ErrTimestampMalformed Refusal = "timestamp_malformed"
	// ErrTimestampTooOld: webhook-timestamp is more than Tolerance ago.
	ErrTimestampTooOld Refusal = "timestamp_too_old"
	// ErrTimestampTooNew: webhook-timestamp is more than Tolerance ahead.
	ErrTimestampTooNew Refusal = "timestamp_too_new"

	// ErrSignatureMalformed: webhook-signature is larger than 4 KiB, has more than 16 signatures or more than 4 of version v1a, or has none
	// that can be a v1 or v1a signature.
	ErrSignatureMalformed Refusal = "signature_malformed"
	// ErrNoKey: we have no key, valid now, for the versions of the signatures that were sent.
	ErrNoKey Refusal = "key_missing"
	// ErrWrongSignature: no key that is valid now made any of the signatures for this id, timestamp and body.
	ErrWrongSignature Refusal = "signature_wrong"
)

// Error implements error.
func (r Refusal) Error() string { return "the webhook is not authenticated: " + string(r) }
