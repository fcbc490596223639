// Package retryafter reads how long an HTTP server asks its clients to wait.
package retryafter

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Parse reads the header Retry-After, which is a number of seconds or an HTTP date. It returns 0 when the header is missing, in the past or
// unreadable. It returns no more than most, because a mistaken header must not silence a client for days.
func Parse(h http.Header, now time.Time, most time.Duration) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseUint(value, 10, 32)
	switch {
	case err == nil:
		return min(time.Duration(seconds)*time.Second, most)
	case errors.Is(err, strconv.ErrRange): // a number that is too large
		return most
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), most)
	}
	return 0
}
