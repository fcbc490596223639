package webhookauth

// Refusal is why a request is not authenticated: a word of a fixed set, fit for log lines and metric labels. Every error of Check
// and Verify is one. The sender gets the same answer for all of them, 401, and need not be told more.
type Refusal string

// The refusals.
const (
	// ErrNoCredentials: the request has no header of a kind that is accepted.
	ErrNoCredentials Refusal = "credentials_missing"
	// ErrRepeatedHeader: a header that must be there once is there several times, and which one counts would be a guess.
	ErrRepeatedHeader Refusal = "header_repeated"
	// ErrWrongSecret: there is a shared secret, but none of ours.
	ErrWrongSecret Refusal = "secret_wrong"

	// ErrIDMissing: there is a signature, but no webhook-id.
	ErrIDMissing Refusal = "id_missing"
	// ErrIDMalformed: the signed webhook-id is not 1 to 128 printable ASCII characters without spaces and full stops.
	ErrIDMalformed Refusal = "id_malformed"
	// ErrTimestampMissing: there is a signature, but no webhook-timestamp.
	ErrTimestampMissing Refusal = "timestamp_missing"
	// ErrTimestampMalformed: webhook-timestamp is not a whole number of seconds since 1970 in plain decimal digits.
	ErrTimestampMalformed Refusal = "timestamp_malformed"
	// ErrTimestampTooOld: webhook-timestamp is more than Tolerance ago.
	ErrTimestampTooOld Refusal = "timestamp_too_old"
	// ErrTimestampTooNew: webhook-timestamp is more than Tolerance ahead.
	ErrTimestampTooNew Refusal = "timestamp_too_new"

	// ErrSignatureMalformed: webhook-signature is over 4 KiB, has over 16 signatures or over 4 v1a ones, or none that can be a v1
	// or v1a one.
	ErrSignatureMalformed Refusal = "signature_malformed"
	// ErrNoKey: no key that is valid now makes signatures of the versions that were sent.
	ErrNoKey Refusal = "key_missing"
	// ErrWrongSignature: no key that is valid now made any of the signatures for this id, timestamp and body.
	ErrWrongSignature Refusal = "signature_wrong"
)

// Error implements error.
func (r Refusal) Error() string { return "the webhook is not authenticated: " + string(r) }
