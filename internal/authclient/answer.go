package authclient

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswerAge is the most that is taken off the moment from which an answer counts: a cache that has kept it for longer is broken.
const maxAnswerAge = 24 * time.Hour

// askForFresh asks the caches on the way for the Auth Worker's own answer. Pragma is for those of HTTP/1.0.
func askForFresh(h http.Header) {
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
}

// answerAge is how long ago the Auth Worker gave the answer that a cache has kept, by the header of that name, in whole seconds. 0 is
// one of its own, or of a cache that does not say so.
//
// Nothing is made of Date: it is the other side's clock, so that one that is wrong would make every answer old, and no deletion would
// ever be confirmed. Caches that don't say an Age make the Date anew. X-Cache and the like have no meaning that holds everywhere.
func answerAge(h http.Header) (time.Duration, error) {
	for _, warning := range h.Values("Warning") {
		// 110 to 113 (RFC 7234): the answer is, or may be, too old to be given without being asked for.
		if code, _, _ := strings.Cut(strings.TrimSpace(warning), " "); len(code) == 3 && code >= "110" && code <= "113" {
			return 0, fmt.Errorf("%w: it is said to be stale (Warning %s)", ErrCached, code)
		}
	}
	values := h.Values("Age")
	if len(values) == 0 {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(values[0]), 10, 64)
	switch {
	case len(values) > 1, err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, damaged("its Age can't be read")
	case err != nil, seconds > uint64(maxAnswerAge/time.Second):
		return 0, fmt.Errorf("%w: it is older than %s", ErrCached, maxAnswerAge)
	}
	return time.Duration(seconds) * time.Second, nil
}
