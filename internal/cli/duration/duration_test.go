package duration_test

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/cli/duration"
)

func TestDaysAndWeeksAreDurations(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"7d": 7 * day, "2w": 14 * day, "1d12h": day + 12*time.Hour, "1w2d": 9 * day, "90s": 90 * time.Second, "1.5h": 90 * time.Minute,
		"0": 0, "0s": 0, "-1h": -time.Hour, "1ns": 1,
	} {
		got, err := duration.Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

func TestAnOddDurationIsRefusedWithAnExample(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "7", "d", "a week", "7 d", "-1d", "7dd", "999999999w"} {
		_, err := duration.Parse(text)
		require.ErrorContains(t, err, "7d", text)
	}
}

func TestAFlagTakesDaysAndHasItsDefault(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var d time.Duration
	duration.Var(flags, &d, "for", time.Hour, "how long")
	require.Equal(t, time.Hour, d)
	require.NoError(t, flags.Parse([]string{"--for", "7d"}))
	require.Equal(t, 7*24*time.Hour, d)
	require.ErrorContains(t, flags.Parse([]string{"--for", "soon"}), "7d")
}
