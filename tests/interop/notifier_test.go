package interop_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"storekeeper/internal/standalone"
	"storekeeper/tests/harness"
)

// sendScript sends events by the TypeScript notifier, in Node.js itself or in workerd, and writes for each whether it was taken.
const sendScript = `
import { build } from "esbuild";
import { Miniflare } from "miniflare";

const { runtime, env, events } = JSON.parse(process.argv[1]);
const bundle = await build({
  entryPoints: ["../../integrations/cloudflare-worker/src/notifier.ts"], bundle: true, format: "esm", write: false,
});
const notifier = bundle.outputFiles[0].text;
const worker = ` + "`" + `
import { createNotifier } from "./notifier.mjs";
export default {
  async fetch(request, env, ctx) {
    const event = await request.json();
    const taken = createNotifier(env).notify({ ...event, timestamp: new Date(event.timestamp) });
    ctx.waitUntil(taken);
    return Response.json(await taken);
  },
};` + "`" + `;

const taken = [];
if (runtime === "node") {
  const { createNotifier } = await import("data:text/javascript;base64," + Buffer.from(notifier).toString("base64"));
  const sender = createNotifier(env, { logger: console });
  for (const event of events) taken.push(await sender.notify({ ...event, timestamp: new Date(event.timestamp) }));
} else {
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    cf: false, // else miniflare fetches a sample of request.cf from Cloudflare
    telemetry: { enabled: false },
    compatibilityDate: "2025-05-07",
    bindings: env,
    modules: [
      { type: "ESModule", path: "worker.mjs", contents: worker },
      { type: "ESModule", path: "notifier.mjs", contents: notifier },
    ],
  });
  for (const event of events) {
    const answer = await miniflare.dispatchFetch("http://worker/", { method: "POST", body: JSON.stringify(event) });
    taken.push(await answer.json());
  }
  await miniflare.dispose();
}
process.stdout.write("\n" + JSON.stringify(taken));
`

func TestTheTypeScriptNotifierIsUnderstoodByTheEdge(t *testing.T) {
	t.Parallel()
	requireInstalled(t)
	symmetric := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	public := "whpk_" + base64.StdEncoding.EncodeToString(private[ed25519.SeedSize:])
	// The demo's own secret comes first, for the Auth Worker of the demo, and proves nothing here: only signatures are taken.
	in := harness.Start(t, "WEBHOOK_AUTH=signature", "WEBHOOK_SECRET="+strings.Join([]string{standalone.DemoWebhookSecret, symmetric, public}, ","))

	for _, runtime := range []string{"node", "workerd"} {
		for name, secret := range map[string]string{
			"a symmetric key":              symmetric,
			"a private key":                "whsk_" + base64.StdEncoding.EncodeToString(private),
			"a seed, beside an old secret": standalone.DemoWebhookSecret + ",whsk_" + base64.StdEncoding.EncodeToString(private.Seed()),
		} {
			t.Run(runtime+" signs with "+name, func(t *testing.T) {
				t.Parallel()
				in := harness.Installation{T: t, System: in.System}
				id, at := uuid.NewString(), time.Now()
				require.Equal(t, []bool{true}, send(t, runtime, in.EdgeURL, secret, event{"workspace.created", id, at}))
				in.Eventually("the store is monitored", func() bool { return in.Monitored(id) })
				require.Equal(t, []bool{true, true}, send(t, runtime, in.EdgeURL, secret,
					event{"workspace.created", id, at}, event{"workspace.deleted", id, at.Add(time.Second)}))
				in.Eventually("its deletion is pending", func() bool {
					return in.Edge("GET", "/stores/"+id).JSON("deletion") != nil
				})
			})
		}
		t.Run(runtime+" is refused with another's key", func(t *testing.T) {
			t.Parallel()
			id := uuid.NewString()
			stranger := standalone.DemoWebhookSecret + ",whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32))
			require.Equal(t, []bool{false}, send(t, runtime, in.EdgeURL, stranger, event{"workspace.created", id, time.Now()}))
			require.False(t, in.Monitored(id))
		})
	}
}

type event struct {
	name, instanceID string
	at               time.Time
}

// send returns for each event whether the notifier says that it was taken.
func send(t *testing.T, runtime, edge, secret string, all ...event) (taken []bool) {
	t.Helper()
	events := make([]map[string]any, len(all))
	for i, ev := range all {
		events[i] = map[string]any{"type": ev.name, "instanceId": ev.instanceID, "userId": "user", "timestamp": ev.at.UnixMilli()}
	}
	input, err := json.Marshal(map[string]any{
		"runtime": runtime, "events": events,
		"env": map[string]string{"SERVER_WEBHOOK_URL": edge + "/webhooks/workspaces", "WEBHOOK_SECRET": secret},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--input-type=module", "--eval", sendScript, "--", string(input))
	var logs bytes.Buffer
	cmd.Stderr = &logs
	// Node's child workerd outlives it unless the whole group is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.Output()
	require.NoError(t, err, "%s%s", out, logs.String())
	lines := bytes.Split(out, []byte("\n"))
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &taken), "%s%s", out, logs.String())
	for one := range strings.SplitSeq(secret, ",") {
		require.NotContains(t, string(out)+logs.String(), one)
	}
	return taken
}
