package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/retryafter"
)

func TestAServerSaysHowLongToStayAway(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 120 ": 2 * time.Minute, "86400": 5 * time.Minute, "99999999999999999999": 5 * time.Minute,
		in(42 * time.Second): 42 * time.Second, in(24 * time.Hour): 5 * time.Minute, in(-time.Second): 0,
		"": 0, "0": 0, "-5": 0, "1.5": 0, "1e3": 0, "soon": 0, "0x10": 0, "2026-11-23T12:00:42Z": 0,
	} {
		require.Equal(t, want, retryafter.Parse(http.Header{"Retry-After": {value}}, now, 5*time.Minute), "%q", value)
	}
	require.Zero(t, retryafter.Parse(http.Header{}, now, time.Minute))
}
