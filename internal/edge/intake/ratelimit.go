package intake

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits are the rate limits of senders, one for each secret and key. A stranger has none, and can't use up another's.
type limits struct {
	perSecond int // 0: no limit

	// mu is held while the time is taken too: a limiter that is told an earlier time than before fills up once more.
	mu       sync.Mutex
	limiters map[string]*rate.Limiter
}

// take uses up one request of the sender, shows in the header what is left (draft-ietf-httpapi-ratelimit-headers-10), and returns
// how long to wait when none was.
func (l *limits) take(header http.Header, sender string) time.Duration {
	if l.perSecond == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, now := l.of(sender), time.Now()
	taken := limiter.AllowN(now, 1)
	left := limiter.TokensAt(now)
	var wait time.Duration
	if !taken {
		wait = time.Duration(math.Ceil((1-left)/float64(l.perSecond)*1000)) * time.Millisecond
	}
	header.Set("RateLimit-Policy", fmt.Sprintf(`"sender";q=%d;w=1`, l.perSecond))
	header.Set("RateLimit", fmt.Sprintf(`"sender";r=%d;t=1`, int(max(0, left))))
	return wait
}

func (l *limits) of(sender string) *rate.Limiter {
	limiter, ok := l.limiters[sender]
	if !ok {
		if l.limiters == nil {
			l.limiters = map[string]*rate.Limiter{}
		}
		limiter = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		l.limiters[sender] = limiter
	}
	return limiter
}
