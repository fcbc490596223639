package httpclient

import (
	"fmt"
	"net/url"
)

// ParseBaseURL reads the URL under which an API has its paths: http or https, with a host and perhaps a path. The error names the URL by
// what it is ("store manager URL") and quotes nothing of it, because it may hold a password.
func ParseBaseURL(what, address string) (*url.URL, error) {
	base, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: it can't be parsed", what)
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, fmt.Errorf("%s: want http(s)://host[:port][/path]", what)
	case base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, fmt.Errorf("%s: user, query and fragment are not taken", what)
	}
	return base, nil
}
