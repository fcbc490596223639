package telemetry_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/telemetry"
)

func TestOldAndNewSecretsAreBothRedacted(t *testing.T) {
	t.Parallel()
	r := telemetry.NewRedactor("the-old-one", "")
	require.Equal(t, "[redacted] the-new-one", r.Replace("the-old-one the-new-one"))
	r.Add("the-new-one")
	r.Add("the-new-one") // as it comes with each change
	require.Equal(t, "[redacted] [redacted]", r.Replace("the-old-one the-new-one"))
	var none *telemetry.Redactor
	none.Add("x")
	require.Equal(t, "x", none.Replace("x"))
}
