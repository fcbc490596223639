package notifier

import (
	"crypto/ed25519"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"storekeeper/internal/webhookauth"
)

// The rows are those of docs/webhooks.md: whatever a sender has in the time between two steps, the edge takes it.
func TestTheEdgeTakesEveryStepOfAMove(t *testing.T) {
	t.Parallel()
	const old = "the-old-shared-secret"
	private := ed25519.NewKeyFromSeed(keyOf(32, 5))
	signing, verifying := whsk(private), "whpk_"+base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:])
	both, next := whsec(keyOf(32, 6)), whsec(keyOf(32, 7))
	const over, started = "@/2026-11-01T00:00:00Z", "@2026-11-01T00:00:00Z/"
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

	for name, tc := range map[string]struct {
		sender, edge string
		mode         webhookauth.Mode
		method       webhookauth.Method
	}{
		"before the first":                           {old, old, webhookauth.ModeAny, webhookauth.MethodSecret},
		"the edge has the key":                       {old, old + "," + verifying, webhookauth.ModeAny, webhookauth.MethodSecret},
		"the sender signs as well":                   {old + "," + signing, old + "," + verifying, webhookauth.ModeAny, webhookauth.MethodSignature},
		"the sender is ahead of the edge":            {old + "," + signing, old, webhookauth.ModeAny, webhookauth.MethodSecret},
		"the sender signs with another key":          {old + "," + both, old + "," + next, webhookauth.ModeAny, webhookauth.MethodSecret},
		"the edge takes signatures alone":            {old + "," + signing, old + "," + verifying, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"the sender forgets the secret":              {signing, old + "," + verifying, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"the edge forgets the secret":                {signing, verifying, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"a rotation that the sender has not noticed": {both, both + "," + next, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"a rotation in which the sender uses both":   {both + "," + next, both + over + "," + next + started, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"a rotation that is over":                    {next, both + over + "," + next, webhookauth.ModeSignature, webhookauth.MethodSignature},
		"a rotation from one kind to the other":      {both + "," + signing, verifying, webhookauth.ModeSignature, webhookauth.MethodSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := New(Options{URL: "http://127.0.0.1", Secret: tc.sender, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			all, err := webhookauth.Parse(strings.Split(tc.edge, ","))
			require.NoError(t, err)
			keyring, err := all.ForMode(tc.mode)
			require.NoError(t, err)

			body := anEvent.body()
			claim, err := keyring.Check(n.header(deliveryID(body), now, body), now)
			require.NoError(t, err)
			sender, err := claim.Verify(body)
			require.NoError(t, err)
			require.Equal(t, tc.method, sender.Method)
		})
	}
}
