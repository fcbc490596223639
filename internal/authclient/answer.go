package authclient

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswerAge is the greatest age of an answer that is believed. A cache that says it has kept one for longer is broken.
const maxAnswerAge = 24 * time.Hour

// askForFresh asks the caches on the way for the Auth Worker's own answer. Pragma is for HTTP/1.0 caches.
func askForFresh(h http.Header) {
	h.Set("Cache-Control", "no-cache")
	h.Set("Pragma", "no-cache")
}

// answerAge is how long ago the Auth Worker gave an answer that a cache has kept: the Age header, in whole seconds. 0 means that the
// answer comes from the Auth Worker itself, or from a cache that does not say.
//
// Date is not used. It is told by the other side's clock: if that clock were wrong, every answer would be old, and no deletion would ever
// be confirmed. Caches that send no Age make the Date anew. X-Cache and the like don't mean the same everywhere.
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
