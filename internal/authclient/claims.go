package authclient

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// claims are what a list says of itself in its metadata.
type claims struct {
	workspaces int
	users      *int // nil: it does not say
}

func (c claims) equal(o claims) bool {
	return c.workspaces == o.workspaces && (c.users == nil) == (o.users == nil) && (c.users == nil || *c.users == *o.users)
}

// metadata reads what the page says of the whole list. All pages that say something must say the same. Otherwise the list has changed
// between two pages, and an entry may have moved from a page that had yet to come to one that had gone.
func (d *listDecoder) metadata() error {
	text, err := d.read()
	if err != nil {
		return err
	}
	r := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowInvalidUTF8(true))
	if token, err := r.ReadToken(); err != nil || token.Kind() != '{' {
		return damaged("its metadata are no object")
	}
	var workspaces, users *int
	for r.PeekKind() == '"' {
		name, err := r.ReadToken()
		if err != nil {
			return damaged("its metadata can't be read")
		}
		member := name.String()
		value, err := r.ReadValue()
		if err != nil {
			return damaged("its metadata can't be read")
		}
		switch member {
		case "totalWorkspaces":
			workspaces, err = count(member, value)
		case "totalUsers":
			users, err = count(member, value)
		default:
			err = d.contradiction(member, value)
		}
		if err != nil {
			return err
		}
	}
	if workspaces == nil {
		return damaged("its metadata have no totalWorkspaces")
	}
	c := &claims{workspaces: *workspaces, users: users}
	if known := *d.claims; known != nil && !known.equal(*c) {
		return damaged("its pages say that it has %d entries, and %d", known.workspaces, c.workspaces)
	}
	*d.claims = c
	return nil
}

// count reads a number of the metadata.
func count(name string, value jsontext.Value) (*int, error) {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < 0 {
		return nil, damaged("its %s is no number of things", name)
	}
	return &n, nil
}

// beside reads a member that stands beside the entries. A newer version may say more than is known here.
func (d *listDecoder) beside(name string) error {
	value, err := d.read()
	if err != nil {
		return err
	}
	return d.contradiction(name, value)
}

// contradiction is an error if the member says that the list is not complete. Nobody sends such members today.
func (d *listDecoder) contradiction(name string, value jsontext.Value) error {
	text := string(value)
	switch name {
	case "success", "ok", "complete":
		if text != "true" {
			return damaged("it says that its %s is not true", name)
		}
	case "error", "errors", "partial", "incomplete", "truncated":
		switch text {
		case "null", "false", `""`, "[]", "{}":
		default:
			return damaged("it has %s", name)
		}
	case "status":
		switch strings.ToLower(strings.Trim(text, `"`)) {
		case "error", "failed", "failure", "partial", "incomplete", "degraded", "stale":
			return damaged("it says that its status is %s", strings.ToLower(strings.Trim(text, `"`)))
		}
	default:
		return d.furtherPage(name, text)
	}
	return nil
}

// furtherPage is an error if the member says that there are pages of another kind than the ones that we follow.
func (d *listDecoder) furtherPage(name, text string) error {
	switch name {
	case "next", "nextPage", "nextPageToken", "next_cursor":
		if text != "null" && text != `""` && text != "false" {
			return damaged("it says that there is another page (%s)", name)
		}
	case "totalPages", "pages":
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			if *d.pages > 0 && *d.pages != n {
				return damaged("its pages say that it has %d pages, and %d", *d.pages, n)
			}
			*d.pages = n
		}
	case "hasMore", "hasNextPage":
		if text == "null" {
			return nil
		}
		more := text == "true"
		if !more && text != "false" || d.more != nil && *d.more != more {
			return damaged("what it says of a next page can't be read")
		}
		d.more = &more
	}
	return nil
}
