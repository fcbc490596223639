package authclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxCursorLength bounds, in bytes, the cursor of a next page, which goes into a URL.
	maxCursorLength = 2 << 10
	// maxMembers bounds the members of a page, because the tokenizer remembers their names. Three have a meaning today.
	maxMembers = 100
)

// entry is one entry of the list. It is the decoder's own and holds until the next one.
type entry struct {
	id    []byte // not empty, but may be no store's: an administrator can add any string
	valid bool   // whether id can be a store's
	user  []byte // empty when the entry names none
	// name and created are for people; they are read for a fetch that wants details, and empty when they are not there or no texts.
	name, created []byte
}

// appendText appends what the JSON string holds.
func appendText(to []byte, quoted jsontext.Value) []byte {
	if text := quoted[1 : len(quoted)-1]; bytes.IndexByte(text, '\\') < 0 {
		return append(to, text...)
	}
	to, _ = jsontext.AppendUnquote(to, quoted) // fails for nothing but bytes that are no UTF-8
	return to
}

// listDecoder reads one page, {"workspaces":[…],"metadata":{…},"nextCursor":"…"}, token by token, with its members in any order. It keeps
// one token in memory.
type listDecoder struct {
	body        *listBody
	json        *jsontext.Decoder
	contentType string
	summary     *ListSummary // of all pages so far
	tally       *tally       // the same
	claims      **claims     // the same, nil as long as none has any
	pages       *int         // the same, how many pages the list says it has; 0 as long as it does not say
	yield       func(*entry) error
	detailed    bool // whether entries have a name and a time

	entry      entry
	nextCursor string // "" after the last page
	more       *bool  // what the page says of a next one beside its cursor; nil: nothing
}

func newListDecoder(body *listBody) listDecoder {
	// Bytes that are no UTF-8 are replaced, as encoding/json does: the name of a workspace may end in half a character. No name may come
	// twice in an object.
	return listDecoder{body: body, json: jsontext.NewDecoder(bufio.NewReaderSize(body, 64<<10), jsontext.AllowInvalidUTF8(true))}
}

func (d *listDecoder) decode() error {
	if err := d.delim('{'); errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w (its type is %q)", err, printable(d.contentType)) // a proxy's page, most likely
	} else if err != nil {
		return err
	}
	listed := false
	for members := 1; d.peek() != '}'; members++ {
		token, err := d.json.ReadToken()
		if err != nil {
			return d.failure("the JSON can't be read", err)
		}
		if members > maxMembers {
			return damaged("it has more than %d members", maxMembers)
		}
		switch name := token.String(); name {
		case "workspaces":
			listed, err = true, d.workspaces()
		case "metadata":
			err = d.metadata()
		case "nextCursor":
			err = d.cursor()
		default: // a newer version may say more
			err = d.beside(name)
		}
		if err != nil {
			return err
		}
	}
	if err := d.delim('}'); err != nil {
		return err
	}
	// Reading on to the end also verifies the checksum of a compressed body.
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return d.failure("something follows the list", err)
	}
	switch {
	case !listed:
		return damaged("workspaces is missing")
	case d.more != nil && *d.more != (d.nextCursor != ""):
		return damaged("what it says of a next page and its nextCursor do not agree")
	}
	return nil
}

func (d *listDecoder) workspaces() error {
	if err := d.delim('['); err != nil {
		return err
	}
	for d.peek() != ']' {
		if err := d.readEntry(); err != nil {
			return err
		}
		if d.summary.Entries++; d.summary.Entries > maxEntries {
			return damaged("it has more than %d entries", maxEntries)
		}
		if !d.entry.valid {
			d.summary.InvalidEntries++
		}
		d.tally.add(&d.entry)
		if err := d.yield(&d.entry); err != nil {
			return err
		}
	}
	return d.delim(']')
}

// readEntry reads the next entry. Only its ids, the workspace's and the user's, must be right: an odd name does not damage a list.
func (d *listDecoder) readEntry() error {
	d.entry = entry{id: d.entry.id[:0], user: d.entry.user[:0], name: d.entry.name[:0], created: d.entry.created[:0]}
	token, err := d.json.ReadToken()
	switch {
	case err != nil:
		return d.entryFailure(err)
	case token.Kind() == 'n':
		return d.damagedEntry("has no id")
	case token.Kind() != '{':
		return d.damagedEntry("is no object with an id")
	}
	for d.json.PeekKind() != '}' {
		name, err := d.json.ReadValue()
		if err != nil {
			return d.entryFailure(err)
		}
		if err := d.readMember(memberName(name)); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return d.entryFailure(err)
	}
	if len(d.entry.id) == 0 {
		return d.damagedEntry("has no id")
	}
	return nil
}

// memberName returns the name that the JSON string holds, and "" for a name that means nothing to us.
func memberName(quoted jsontext.Value) string {
	name := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name, _ = jsontext.AppendUnquote(nil, quoted) // fails for nothing but bytes that are no UTF-8
	}
	switch string(name) {
	case "instanceId":
		return "instanceId"
	case "userId":
		return "userId"
	case "name":
		return "name"
	case "createdAt":
		return "createdAt"
	}
	return ""
}

// readMember reads the value of a member of an entry.
func (d *listDecoder) readMember(member string) error {
	detail := member == "name" || member == "createdAt"
	if member == "" || detail && !d.detailed {
		if err := d.json.SkipValue(); err != nil {
			return d.entryFailure(err)
		}
		return nil
	}
	value, err := d.json.ReadValue()
	if err != nil {
		return d.entryFailure(err)
	}
	switch {
	case value.Kind() == 'n', detail && value.Kind() != '"':
		return nil
	case member == "name":
		d.entry.name = appendText(d.entry.name[:0], value)
	case member == "createdAt":
		d.entry.created = appendText(d.entry.created[:0], value)
	case value.Kind() != '"' && member == "instanceId":
		return d.damagedEntry("is no object with an id")
	case value.Kind() != '"':
		return d.damagedEntry("has a userId that is no string")
	case !utf8.Valid(value): // no encoder writes that, so something fell over on the way
		return d.damagedEntry("has an id that is no UTF-8")
	case member == "instanceId":
		d.entry.id = appendText(d.entry.id[:0], value)
		d.entry.valid = validID(d.entry.id)
	default:
		d.entry.user = appendText(d.entry.user[:0], value)
	}
	return nil
}

func (d *listDecoder) cursor() error {
	value, err := d.read()
	switch {
	case err != nil:
		return err
	case value.Kind() == 'n':
		return nil
	case value.Kind() != '"':
		return damaged("its nextCursor is no string")
	}
	cursor := appendText(nil, value)
	if len(cursor) > maxCursorLength {
		return damaged("its nextCursor is too long")
	}
	d.nextCursor = string(cursor)
	return nil
}

// peek returns the kind of the next token, which may be of any length, and 0 when it can't be read.
func (d *listDecoder) peek() jsontext.Kind {
	d.body.renew()
	return d.json.PeekKind()
}

// delim takes the next token, which must be want.
func (d *listDecoder) delim(want jsontext.Kind) error {
	d.body.renew()
	token, err := d.json.ReadToken()
	if err != nil {
		return d.failure("the JSON can't be read", err)
	}
	if token.Kind() != want {
		return damaged("there is no %q where one must be", rune(want))
	}
	return nil
}

// read takes the next value. It holds until the next is taken.
func (d *listDecoder) read() (jsontext.Value, error) {
	d.body.renew()
	value, err := d.json.ReadValue()
	if err != nil {
		return nil, d.failure("the JSON can't be read", err)
	}
	return value, nil
}

// failure tells the two reasons why decoding stops: the body could not be read any further, or what was read is damaged.
func (d *listDecoder) failure(what string, err error) error {
	if d.body.err != nil {
		return d.body.err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off")
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return damaged("%s: a name comes twice", what)
	}
	return damaged("%s", what)
}

func (d *listDecoder) entryFailure(err error) error {
	return d.failure(fmt.Sprintf("entry %d can't be read", d.summary.Entries+1), err)
}

func (d *listDecoder) damagedEntry(what string) error {
	return damaged("entry %d %s", d.summary.Entries+1, what)
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
