package authclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/maphash"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var contractID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$`)

// decoded is what a decoder made of a page.
type decoded struct {
	ids     []string
	claimed *int
	err     error
	// folded: an entry spells instanceId in another case, which encoding/json accepts.
	folded bool
}

// referenceDecode is a page decoder on encoding/json, slow and plain: what listDecoder must be as strict as.
func referenceDecode(page []byte) (d decoded) {
	r := json.NewDecoder(bytes.NewReader(page))
	d.err = d.reference(r)
	return d
}

var errReference = errors.New("damaged")

func (d *decoded) reference(r *json.Decoder) error {
	if err := referenceDelim(r, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if seen[key] {
			return errReference
		}
		switch key {
		case "workspaces":
			seen[key] = true
			err = d.referenceEntries(r)
		case "metadata":
			seen[key] = true
			var m map[string]json.RawMessage // by their names as they are
			if err = r.Decode(&m); err == nil {
				err = json.Unmarshal(m["totalWorkspaces"], &d.claimed)
			}
		default:
			err = r.Decode(new(json.RawMessage))
		}
		if err != nil {
			return err
		}
	}
	if err := referenceDelim(r, '}'); err != nil {
		return err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return errReference
	}
	if !seen["workspaces"] {
		return errReference
	}
	return nil
}

func (d *decoded) referenceEntries(r *json.Decoder) error {
	if err := referenceDelim(r, '['); err != nil {
		return err
	}
	for r.More() {
		var raw json.RawMessage
		if err := r.Decode(&raw); err != nil {
			return err
		}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(raw, &members)
		for name := range members {
			d.folded = d.folded || name != "instanceId" && strings.EqualFold(name, "instanceId")
		}
		var e struct {
			InstanceID *string `json:"instanceId"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.InstanceID == nil || *e.InstanceID == "" {
			return errReference
		}
		d.ids = append(d.ids, *e.InstanceID)
	}
	return referenceDelim(r, ']')
}

func referenceDelim(r *json.Decoder, want json.Delim) error {
	token, err := r.Token()
	if err == nil && token != want {
		err = errReference
	}
	return err
}

// decodePage is listDecoder over a page that comes as the reader gives it.
func decodePage(page io.Reader) (d decoded) {
	idle := time.AfterFunc(time.Hour, func() {})
	defer idle.Stop()
	var summary ListSummary
	body := &listBody{r: page, idle: idle, idleTimeout: time.Hour, left: defaultBodyLimits, maxValue: defaultBodyLimits.value}
	l := newListDecoder(body)
	l.summary = &summary
	l.yield = func(e *entry) error { d.ids = append(d.ids, string(e.id)); return nil }
	var c *claims
	l.tally, l.claims, l.pages = newTally(), &c, new(int)
	if d.err = l.decode(); c != nil {
		d.claimed = &c.workspaces
	}
	return d
}

// ourOwn are parts of what we say where encoding/json would say nothing: a list may be JSON and no list.
var ourOwn = []string{
	"comes twice", "nextCursor", "next page", "metadata", "totalWorkspaces", "totalUsers", "userId", "no UTF-8", "it says that its", "it has ",
}

// compareDecoders holds listDecoder to the reference: what the reference refuses it refuses too, what it refuses beyond that it names, and
// they read the same ids.
func compareDecoders(t require.TestingT, page []byte) {
	want := referenceDecode(page)
	if want.folded {
		return // a name in another case is another name
	}
	for _, r := range []io.Reader{bytes.NewReader(page), iotest.OneByteReader(bytes.NewReader(page))} {
		got := decodePage(r)
		if got.err == nil {
			require.NoError(t, want.err, "%q", page)
			require.Equal(t, want.ids, got.ids, "%q", page)
			require.Equal(t, want.claimed, got.claimed, "%q", page)
			continue
		}
		require.ErrorIs(t, got.err, ErrDamaged)
		ours := slices.ContainsFunc(ourOwn, func(part string) bool { return strings.Contains(got.err.Error(), part) })
		require.True(t, want.err != nil || ours, "%v: %q", got.err, page)
	}
}

var pages = []string{
	`{"workspaces":[],"metadata":{"totalUsers":0,"totalWorkspaces":0}}`,
	`{"workspaces":[{"instanceId":"abc","userId":"u","name":"N","createdAt":"2026-11-23T18:29:10.028Z","isDefault":true}],"metadata":{"totalWorkspaces":1}}`,
	`{"metadata":{"totalUsers":1,"totalWorkspaces":2,"more":{}},"success":true,"hasMore":true,"workspaces":[{"userId":"u","instanceId":"abc","plan":{"a":[1,2.5e3,-0,null,false]}},{"name":7,"instanceId":"ab\u0063"}], "nextCursor":"x"}`,
	`{"workspaces":[{"\u0069nstanceId":"abc"},{"instanceId":"\ud83d\ude00 \ud800 ` + "\xff" + `"},{"instanceId":"../x"}],"nextCursor":null}`,
	`{"workspaces":[{"instanceId":null}]}`, `{"workspaces":[{"InstanceID":"abc"}]}`, `{"workspaces":[{"instanceId":"abc","instanceId":"abd"}]}`,
	`{"workspaces":[null]}`, `{"workspaces":null}`, `[]`, `nul`, ``, "\ufeff{}", `{"workspaces":[]}{}`, `{"workspaces":[],}`, `{"workspaces":[{"instanceId":"abc"},]}`,
	`{"workspaces":[{"instanceId":"abc"} {"instanceId":"abd"}]}`, `{"workspaces":[{"instanceId":"abc",}]}`, `{"workspaces":[{"instanceId":"a` + "\n" + `bc"}]}`,
	`{"workspaces":[],"metadata":{"totalWorkspaces":1e2}}`, `{"workspaces":[],"metadata":{"totalWorkspaces":-1}}`, `{"a":01,"workspaces":[]}`, `{"workspaces":[],"metadata":[]}`,
	`{"workspaces":[{"instanceId":"abc","a":"\x"}]}`, `{"workspaces":[],"workspaces":[]}`, `{"workspaces":[],"nextCursor":7}`, `{"other":1,"other":2,"workspaces":[]}`,
	`{"workspaces":[{"instanceId":"abc"}],"a":` + strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000) + `}`,
}

func FuzzTheDecoderIsAsStrictAsEncodingJSON(f *testing.F) {
	for _, p := range pages {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, page []byte) { compareDecoders(t, page) })
}

func TestDamagedPagesAreRefusedAsEncodingJSONRefusesThem(t *testing.T) {
	t.Parallel()
	pieces := []string{
		`{`, `}`, `[`, `]`, `,`, `:`, `"`, `\`, `null`, `true`, `1`, `-`, `e9`, ` `, "\x00", "\xff", "\u2028", `""`, `{}`, `"instanceId":"abd",`, `{"instanceId":"abd"}`,
		`"workspaces":[],`, `"metadata":{},`, `"totalWorkspaces":3,`, `"nextCursor":"y",`, `\u00`, `\ud800`, `/**/`,
	}
	rapid.Check(t, func(t *rapid.T) {
		page := []byte(rapid.SampledFrom(pages[:len(pages)-1]).Draw(t, "page"))
		for range rapid.IntRange(1, 4).Draw(t, "damages") {
			at := rapid.IntRange(0, len(page)).Draw(t, "at")
			end := min(len(page), at+rapid.IntRange(0, 12).Draw(t, "length"))
			switch rapid.IntRange(0, 4).Draw(t, "damage") {
			case 0: // cut off
				page = page[:at]
			case 1: // a gap
				page = append(page[:at:at], page[end:]...)
			case 2: // something comes twice
				page = append(page[:end:end], page[at:]...)
			case 3: // something comes in between
				page = append(append(page[:at:at], rapid.SampledFrom(pieces).Draw(t, "piece")...), page[at:]...)
			case 4: // a bit falls over
				if at < len(page) {
					page = bytes.Clone(page)
					page[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
			}
		}
		compareDecoders(t, page)
	})
}

func TestATallyAgreesWithPlainSets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.StringMatching(`[ab]{0,2}`)
		entries := rapid.SliceOf(rapid.Custom(func(t *rapid.T) [2]string { return [2]string{"i" + few.Draw(t, "id"), few.Draw(t, "user")} })).Draw(t, "entries")
		seen := newTally()
		pairs, users, named := map[[2]string]bool{}, map[string]bool{}, 0
		for _, e := range entries {
			seen.add(&entry{id: []byte(e[0]), user: []byte(e[1])})
			pairs[e] = true
			if e[1] != "" {
				users[e[1]] = true
				named++
			}
		}
		whole := len(pairs) == len(entries) && (named == 0 || named == len(entries))
		var said *claims
		if rapid.Bool().Draw(t, "metadata") {
			off := rapid.SampledFrom([]int{0, 0, 0, 1, -1})
			said = &claims{workspaces: len(entries) + off.Draw(t, "workspaces")}
			if rapid.Bool().Draw(t, "users") {
				said.users = new(len(users) + off.Draw(t, "user"))
				whole = whole && *said.users == len(users)
			}
			whole = whole && said.workspaces == len(entries)
		}
		err := seen.check(ListSummary{Entries: len(entries)}, said)
		require.Equal(t, whole, err == nil, "%v", err)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
		}
	})
}

func TestHashesAreCountedHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	const n = 300_000
	h := &hashes{}
	seed := maphash.MakeSeed()
	for i := range n {
		v := maphash.Comparable(seed, i)
		h.add(v)
		if i%3 == 0 {
			h.add(v)
		}
	}
	require.Equal(t, n, h.distinct())
	room := 0
	for _, bucket := range h.buckets {
		for _, chunk := range bucket {
			room += cap(chunk)
		}
	}
	require.Less(t, room, n*4/3+hashBuckets*hashChunk, "8 bytes each, and no more than a chunk a bucket for nothing")
}

func TestValidIDsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9_-]{0,66}`), rapid.StringMatching(`[a-zA-Z0-9_\-./ é]{0,5}`)).Draw(t, "id")
		require.Equal(t, contractID.MatchString(id), validID([]byte(id)), id)
	})
}
