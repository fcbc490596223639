package notifier

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsPath = "testdata/vectors.json"

// vectors are what both notifiers must do alike.
type vectors struct {
	Deliveries []vector `json:"deliveries"`
	// Refused are secrets that are no setting.
	Refused []refusedSecret `json:"refusedSecrets"`
	// RefusedTimes are those of events that are not sent.
	RefusedTimes []refusedTime `json:"refusedTimestamps"`
}

type vector struct {
	Name string `json:"name"`
	// The input. The ids are raw, for a lone surrogate is none in a Go string.
	Type       Type            `json:"type"`
	InstanceID json.RawMessage `json:"instanceId"`
	UserID     json.RawMessage `json:"userId"`
	Timestamp  time.Time       `json:"timestamp"`
	Secret     string          `json:"secret"`
	SentAt     int64           `json:"sentAt"` // Unix seconds

	// The outcome. Headers have names in small letters.
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

type refusedSecret struct {
	Name   string `json:"name"`
	Secret string `json:"secret"`
}

type refusedTime struct {
	Name string `json:"name"`
	// UnixMilli is in milliseconds since 1970: no JSON time holds it.
	UnixMilli int64 `json:"unixMilli"`
}

func keyOf(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n) }

func whsec(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }
func whsk(key []byte) string  { return "whsk_" + base64.StdEncoding.EncodeToString(key) }

func raw(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// inputs are the vectors without their outcomes.
func inputs() vectors {
	const shared = "shared-secret-of-the-tests"
	ed := ed25519.NewKeyFromSeed(keyOf(32, 7))
	at := time.Date(2026, 11, 23, 18, 29, 10, 28e6, time.UTC)
	base := vector{
		Type: Created, InstanceID: raw("2b0d7b3d-9a39-4c93-8a0f-6f9c1d2e3f40"), UserID: raw("5d1f7a52-8f0e-4a3b-b1c2-0a9b8c7d6e5f"),
		Timestamp: at, Secret: whsec(keyOf(32, 1)), SentAt: at.Unix() + 1,
	}
	edit := func(name string, change func(*vector)) vector {
		v := base
		v.Name = name
		change(&v)
		return v
	}
	var controls strings.Builder
	for r := range rune(0x21) {
		controls.WriteRune(r)
	}
	mismatched := append([]byte{}, ed...)
	mismatched[63] ^= 1
	return vectors{
		Deliveries: []vector{
			edit("a symmetric key", func(*vector) {}),
			edit("a deletion", func(v *vector) { v.Type = Deleted }),
			edit("the same event sent later", func(v *vector) { v.SentAt += 86400 }),
			edit("the shortest symmetric key", func(v *vector) { v.Secret = whsec(keyOf(24, 2)) }),
			edit("the longest symmetric key", func(v *vector) { v.Secret = whsec(keyOf(64, 0xff)) }),
			edit("a symmetric key without padding", func(v *vector) { v.Secret = strings.TrimRight(whsec(keyOf(32, 0xfb)), "=") }),
			edit("a private key of seed and public key", func(v *vector) { v.Secret = whsk(ed) }),
			edit("the seed of a private key", func(v *vector) { v.Secret = whsk(ed.Seed()) }),
			edit("a shared secret alone", func(v *vector) { v.Secret = shared }),
			edit("a shared secret that looks almost like a key", func(v *vector) { v.Secret = "WHSEC_" + shared + "@=" }),
			edit("a shared secret and keys of both kinds", func(v *vector) {
				v.Secret = strings.Join([]string{shared, whsec(keyOf(32, 3)), "  " + whsk(ed) + "\t", whsec(keyOf(32, 4)), "another-one"}, ",")
			}),
			edit("no milliseconds", func(v *vector) { v.Timestamp = at.Truncate(time.Second) }),
			edit("another time zone", func(v *vector) { v.Timestamp = at.In(time.FixedZone("", 9000)) }),
			edit("a leap day", func(v *vector) { v.Timestamp = time.Date(2028, 2, 29, 23, 59, 59, 999e6, time.UTC) }),
			edit("the beginning of time", func(v *vector) { v.Timestamp, v.SentAt = time.UnixMilli(0).UTC(), 0 }),
			edit("the first year there is", func(v *vector) { v.Timestamp = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) }),
			edit("the last millisecond there is", func(v *vector) { v.Timestamp = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC) }),
			edit("quotes and backslashes", func(v *vector) { v.InstanceID, v.UserID = raw(`"a\b"\\u2028\`), raw(`'/\/"`) }),
			edit("what HTML escapes", func(v *vector) { v.InstanceID = raw(`<script>&amp;</script>`) }),
			edit("line and paragraph separators", func(v *vector) { v.InstanceID = raw("a\u2028b\u2029c\u0085") }),
			edit("control characters and space", func(v *vector) { v.UserID = raw(controls.String() + "\x7f") }),
			edit("letters of many scripts", func(v *vector) {
				v.InstanceID, v.UserID = raw("grüße-日本語-שלום"), raw("👩‍👩‍👧 e\u0301 \ufeff \ufffd \uffff")
			}),
			edit("lone surrogates", func(v *vector) {
				v.InstanceID, v.UserID = json.RawMessage(`"a\ud800b\udfff\udfff"`), json.RawMessage(`"\ud83d\ude00\ude00\ud83d"`)
			}),
			edit("empty strings", func(v *vector) { v.Type, v.InstanceID, v.UserID = "", raw(""), raw("") }),
			edit("a long id", func(v *vector) { v.InstanceID = raw(strings.Repeat("aé\"", 1500)) }),
		},
		Refused: []refusedSecret{
			{"an empty entry", "a,,b"},
			{"an empty entry at the end", shared + ","},
			{"white space within", "two words"},
			{"a letter that fits in no header", "geheimnïs"},
			{"a line break", "two\nlines"},
			{"a public key", "whpk_" + base64.StdEncoding.EncodeToString(ed[32:])},
			{"a symmetric key that is too short", whsec(keyOf(23, 1))},
			{"a symmetric key that is too long", whsec(keyOf(65, 1))},
			{"a symmetric key of nothing", "whsec_"},
			{"a symmetric key with half of its padding", strings.TrimSuffix(whsec(keyOf(25, 1)), "=")},
			{"a symmetric key with too much padding", whsec(keyOf(32, 1)) + "="},
			{"a symmetric key in the URL's base64", strings.ReplaceAll(whsec(keyOf(32, 0xff)), "/", "_")},
			{"a symmetric key with a validity window", whsec(keyOf(32, 1)) + "@2026-01-01T00:00:00Z/"},
			{"a symmetric key that is no base64, after a good one", whsec(keyOf(32, 1)) + ",whsec_%%%%"},
			{"a private key of another length", whsk(keyOf(33, 1))},
			{"a private key of nothing", "whsk_"},
			{"a private key with another's public half", whsk(mismatched)},
		},
		RefusedTimes: []refusedTime{
			{"the year after the last", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()},
			{"the year before the first", time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1},
			{"a time of another age", time.Date(275760, 9, 13, 0, 0, 0, 0, time.UTC).UnixMilli()},
		},
	}
}

func (v vector) event(t *testing.T) Event {
	t.Helper()
	ev := Event{Type: v.Type, Timestamp: v.Timestamp}
	require.NoError(t, json.Unmarshal(v.InstanceID, &ev.InstanceID))
	require.NoError(t, json.Unmarshal(v.UserID, &ev.UserID))
	return ev
}

// work fills in the outcome.
func (v vector) work(t *testing.T) vector {
	t.Helper()
	n, err := New(Options{URL: "http://127.0.0.1", Secret: v.Secret, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	body := v.event(t).body()
	v.Body, v.Headers = string(body), map[string]string{}
	for name, values := range n.header(deliveryID(body), time.Unix(v.SentAt, 0), body) {
		require.Len(t, values, 1)
		v.Headers[strings.ToLower(name)] = values[0]
	}
	return v
}

func TestTheVectorsAreKept(t *testing.T) { //nolint:paralleltest // with -update it writes what the others read
	want := inputs()
	for i, v := range want.Deliveries {
		want.Deliveries[i] = v.work(t)
	}
	if *update {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetIndent("", "  ")
		require.NoError(t, enc.Encode(want))
		require.NoError(t, os.WriteFile(vectorsPath, b.Bytes(), 0o644))
	}
	kept := readVectors(t)
	require.Len(t, kept.Deliveries, len(want.Deliveries), "go test ./notifier -update")
	for i, v := range want.Deliveries {
		require.Equal(t, v.Name, kept.Deliveries[i].Name)
		require.Equal(t, v.Body, kept.Deliveries[i].Body, v.Name)
		require.Equal(t, v.Headers, kept.Deliveries[i].Headers, v.Name)
	}
	require.Equal(t, want.Refused, kept.Refused)
	require.Equal(t, want.RefusedTimes, kept.RefusedTimes)
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(vectorsPath)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	require.NotEmpty(t, v.Deliveries)
	require.NotEmpty(t, v.Refused)
	require.NotEmpty(t, v.RefusedTimes)
	return v
}

// What is kept is checked against other implementations than ours.
func TestTheVectorsAreWhatTheStandardAsksFor(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t).Deliveries {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			got, ev := map[string]string{}, v.event(t)
			require.NoError(t, json.Unmarshal([]byte(v.Body), &got))
			require.Equal(t, map[string]string{
				"event": string(ev.Type), "instanceId": ev.InstanceID, "userId": ev.UserID,
				"timestamp": v.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"),
			}, got)
			require.Regexp(t, `^evt_[A-Za-z0-9_-]{32}$`, v.Headers["webhook-id"])

			header := http.Header{}
			for name, value := range v.Headers {
				header.Set(name, value)
			}
			content := v.Headers["webhook-id"] + "." + v.Headers["webhook-timestamp"] + "." + v.Body
			signatures := strings.Fields(v.Headers["webhook-signature"])
			shared := ""
			for entry := range strings.SplitSeq(v.Secret, ",") {
				entry = strings.TrimSpace(entry)
				switch {
				case strings.HasPrefix(entry, "whsec_"):
					if len(entry)%4 == len("whsec_")%4-1 {
						entry += "=" // the library insists on it
					}
					webhook, err := standardwebhooks.NewWebhook(entry)
					require.NoError(t, err)
					require.NoError(t, webhook.VerifyIgnoringTimestamp([]byte(v.Body), header))
				case strings.HasPrefix(entry, "whsk_"):
					key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(entry, "whsk_"))
					require.NoError(t, err)
					public := ed25519.NewKeyFromSeed(key[:32]).Public().(ed25519.PublicKey)
					signature, found := strings.CutPrefix(signatures[0], "v1a,")
					require.True(t, found)
					decoded, err := base64.StdEncoding.DecodeString(signature)
					require.NoError(t, err)
					require.True(t, ed25519.Verify(public, []byte(content), decoded))
				default:
					if shared == "" {
						shared = entry
					}
					continue
				}
				if strings.HasPrefix(entry, "whsec_") {
					require.True(t, strings.HasPrefix(signatures[0], "v1,"))
				}
				signatures = signatures[1:]
			}
			require.Empty(t, signatures)
			require.Equal(t, shared, v.Headers["x-webhook-secret"])
		})
	}
}

func TestTheBodyIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	ev := Event{Created, "i", "u", time.Date(2026, 11, 23, 18, 29, 10, 28999999, time.UTC)}
	const want = `{"event":"workspace.created","instanceId":"i","userId":"u","timestamp":"2026-11-23T18:29:10.028Z"}`
	require.Equal(t, want, string(ev.body())) //nolint:testifylint // every byte counts
	ev.UserID = "a\xff\xc3b"
	require.Contains(t, string(ev.body()), "\"userId\":\"a\ufffd\ufffdb\"")
}

func TestASecretThatIsNoneIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	for _, refused := range readVectors(t).Refused {
		t.Run(refused.Name, func(t *testing.T) {
			t.Parallel()
			_, err := New(Options{URL: "http://127.0.0.1", Secret: refused.Secret})
			require.ErrorContains(t, err, "secret: entry ")
			for part := range strings.FieldsFuncSeq(refused.Secret, func(r rune) bool { return strings.ContainsRune("_,@", r) }) {
				if len(part) > 5 {
					require.NotContains(t, err.Error(), part)
				}
			}
		})
	}
}

func TestATimeThatHasNoFormIsRefused(t *testing.T) {
	t.Parallel()
	for _, refused := range readVectors(t).RefusedTimes {
		t.Run(refused.Name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, answers(status(200)))
			ev := anEvent
			ev.Timestamp = time.UnixMilli(refused.UnixMilli)
			answer, err := b.Deliver(t.Context(), ev)
			require.ErrorIs(t, err, ErrTimestamp)
			require.Zero(t, answer)
			require.ErrorIs(t, b.Notify(t.Context(), ev), ErrTimestamp)
			require.Contains(t, b.logs.String(), "workspace event lost")
			require.Empty(t, b.requests)
		})
	}
}
