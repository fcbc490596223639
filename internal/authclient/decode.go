package authclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxCursorLength bounds, in bytes, the cursor of a next page, which goes into a URL.
const maxCursorLength = 2 << 10

// entry is one entry of the list. It is the decoder's own and holds until the next one.
type entry struct {
	id        []byte // not empty
	valid     bool   // whether id can be a store's
	workspace Workspace
}

// setID takes the id from a JSON string. A valid one, which is the rule, stands there as it is.
func (e *entry) setID(quoted jsontext.Value) {
	if text := quoted[1 : len(quoted)-1]; validID(text) {
		e.id, e.valid = append(e.id[:0], text...), true
		return
	}
	e.id, _ = jsontext.AppendUnquote(e.id[:0], quoted) // fails for nothing but bytes that are no UTF-8
	e.valid = validID(e.id)
}

// listDecoder reads one page, {"workspaces":[…],"metadata":{…},"nextCursor":"…"}, token by token, its members in any order.
// It keeps nothing but a token in memory.
type listDecoder struct {
	body        *listBody
	json        *jsontext.Decoder
	contentType string
	summary     *ListSummary // of all pages so far
	// whole: entry.workspace is wanted as well.
	whole bool
	yield func(*entry) error

	entry      entry
	nextCursor string // "" after the last page
}

func newListDecoder(body *listBody) listDecoder {
	// What is no UTF-8 is replaced, as encoding/json does; no valid id has it. Which members may not come twice is checked here:
	// the tokenizer would have to remember the names of all.
	return listDecoder{body: body, json: jsontext.NewDecoder(bufio.NewReaderSize(body, 64<<10),
		jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))}
}

func (d *listDecoder) decode() error {
	if err := d.delim('{'); errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w (its type is %q)", err, printable(d.contentType)) // a proxy's page, most likely
	} else if err != nil {
		return err
	}
	seen := map[string]bool{} // of the members that count
	for d.peek() != '}' {
		token, err := d.json.ReadToken()
		if err != nil {
			return d.failure("the JSON can't be read", err)
		}
		key := token.String()
		if seen[key] {
			return damaged("%s comes twice", key)
		}
		switch key {
		case "workspaces":
			err = d.workspaces()
		case "metadata":
			err = d.metadata()
		case "nextCursor":
			err = d.cursor()
		default: // a newer version may say more
			if err := d.skip(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		seen[key] = true
	}
	if err := d.delim('}'); err != nil {
		return err
	}
	// Reading on to the end also verifies the checksum of a compressed body.
	if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
		return d.failure("something follows the list", err)
	}
	if !seen["workspaces"] {
		return damaged("workspaces is missing")
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
		d.summary.Entries++
		if !d.entry.valid {
			d.summary.InvalidEntries++
		}
		if err := d.yield(&d.entry); err != nil {
			return err
		}
	}
	return d.delim(']')
}

// readEntry reads the next entry. Only the id must be right; a list is not damaged by an odd name.
func (d *listDecoder) readEntry() error {
	d.entry = entry{id: d.entry.id[:0]}
	token, err := d.json.ReadToken()
	switch {
	case err != nil:
		return d.entryFailure(err)
	case token.Kind() == 'n':
		return d.damagedEntry("has no id")
	case token.Kind() != '{':
		return d.damagedEntry("is no object with an id")
	}
	identified := false
	for d.json.PeekKind() != '}' {
		name, err := d.json.ReadValue()
		if err != nil {
			return d.entryFailure(err)
		}
		member := memberName(name)
		if member == "instanceId" {
			if identified {
				return d.damagedEntry("has two ids")
			}
			identified = true
		}
		if err := d.readMember(member); err != nil {
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

// memberName returns the name that the JSON string holds, and "" for one that means nothing to us.
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

// readMember reads the value of an entry's member.
func (d *listDecoder) readMember(member string) error {
	if member == "" || member != "instanceId" && !d.whole {
		if err := d.json.SkipValue(); err != nil {
			return d.entryFailure(err)
		}
		return nil
	}
	value, err := d.json.ReadValue()
	if err != nil {
		return d.entryFailure(err)
	}
	isString := value.Kind() == '"'
	if member == "instanceId" {
		if isString {
			d.entry.setID(value)
		} else if value.Kind() != 'n' {
			return d.damagedEntry("is no object with an id")
		}
		return nil
	}
	if !isString {
		return nil
	}
	text, _ := jsontext.AppendUnquote(nil, value)
	switch w := &d.entry.workspace; member {
	case "userId":
		w.UserID = string(text)
	case "name":
		w.Name = string(text)
	case "createdAt":
		w.CreatedAt, _ = time.Parse(time.RFC3339, string(text)) // zero if it is none, as promised
	}
	return nil
}

func (d *listDecoder) metadata() error {
	var m *struct {
		TotalWorkspaces *int `json:"totalWorkspaces"`
	}
	if err := d.value(&m, "its metadata can't be read"); err != nil || m == nil || m.TotalWorkspaces == nil {
		return err
	}
	// Pages may differ when something changes between them. The largest claim is the one that no damage can hide behind.
	if claimed := d.summary.ClaimedEntries; claimed == nil || *claimed < *m.TotalWorkspaces {
		d.summary.ClaimedEntries = m.TotalWorkspaces
	}
	return nil
}

func (d *listDecoder) cursor() error {
	var cursor *string
	if err := d.value(&cursor, "its nextCursor is no string"); err != nil || cursor == nil {
		return err
	}
	if len(*cursor) > maxCursorLength {
		return damaged("its nextCursor is too long")
	}
	d.nextCursor = *cursor
	return nil
}

// peek returns the kind of the next token, which may be as long as any, and 0 when it can't be read.
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

// value decodes the next value into v.
func (d *listDecoder) value(v any, whenDamaged string) error {
	d.body.renew()
	text, err := d.json.ReadValue()
	if err != nil {
		return d.failure("the JSON can't be read", err)
	}
	if json.Unmarshal(text, v) != nil {
		return damaged("%s", whenDamaged)
	}
	return nil
}

func (d *listDecoder) skip() error {
	d.body.renew()
	if err := d.json.SkipValue(); err != nil {
		return d.failure("the JSON can't be read", err)
	}
	return nil
}

// failure tells the two reasons why decoding stops apart: the body could not be read any further, or what was read is damaged.
func (d *listDecoder) failure(what string, err error) error {
	if d.body.err != nil {
		return d.body.err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it is cut off")
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
