import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { createNotifier, deliveryID, encodeEvent, parseKeys, signedHeaders } from "../src/notifier.js";
import type { Env, Options, WorkspaceEvent } from "../src/notifier.js";

interface Vectors {
  deliveries: {
    name: string;
    type: WorkspaceEvent["type"];
    instanceId: string;
    userId: string;
    timestamp: string;
    secret: string;
    sentAt: number;
    body: string;
    headers: Record<string, string>;
  }[];
  refusedSecrets: { name: string; secret: string }[];
  refusedTimestamps: { name: string; unixMilli: number }[];
}

// The tests run compiled, in dist/test.
const vectors = JSON.parse(readFileSync(new URL("../../../../notifier/testdata/vectors.json", import.meta.url), "utf8")) as Vectors;

const secret = "shared-secret-that-must-not-show,whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const env: Env = { SERVER_WEBHOOK_URL: "https://edge.example.com/webhooks/workspaces", WEBHOOK_SECRET: secret };
const event: WorkspaceEvent = {
  type: "workspace.created",
  instanceId: "ws-1",
  userId: "user-1",
  timestamp: new Date("2026-11-23T18:29:10.028Z"),
};

type Answer = number | Error | [status: number, retryAfter: string];

interface Request {
  after: number;
  headers: Record<string, string>;
  init: RequestInit;
}

/** A notifier with a clock of its own. The answers come one after the other, the last one for ever. */
function setup(answers: Answer[], options: Options = {}, settings: Env = env) {
  const began = Date.parse("2026-11-23T18:30:00Z");
  const requests: Request[] = [];
  const logs: { level: string; message: string; fields: Record<string, unknown> }[] = [];
  const pauses: number[] = [];
  let now = began;
  const logAs = (level: string) => (message: string, fields: object) => {
    logs.push({ level, message, fields: { ...fields } });
  };
  const notifier = createNotifier(
    settings,
    { logger: { debug: logAs("debug"), warn: logAs("warn"), error: logAs("error") }, ...options },
    {
      now: () => now,
      random: () => 0.5,
      sleep: async (ms) => {
        pauses.push(ms);
        now += ms;
      },
      fetch: async (url, init) => {
        assert.equal(url, settings.SERVER_WEBHOOK_URL);
        requests.push({ after: now - began, headers: init.headers as Record<string, string>, init });
        const answer = answers.length > 1 ? answers.shift() : answers[0];
        if (answer instanceof Error) throw answer;
        const [status, retryAfter] = Array.isArray(answer) ? answer : [answer];
        return new Response(null, { status: status ?? 200, headers: retryAfter === undefined ? {} : { "Retry-After": retryAfter } });
      },
    },
  );
  const noSecretIn = () => assert.doesNotMatch(JSON.stringify(logs), /must-not-show|AQEBAQ/);
  return { notifier, requests, logs, pauses, noSecretIn };
}

test("the bytes and headers are those of the Go notifier", async (t) => {
  assert.notEqual(vectors.deliveries.length, 0);
  for (const v of vectors.deliveries) {
    await t.test(v.name, async () => {
      const body = encodeEvent({ type: v.type, instanceId: v.instanceId, userId: v.userId, timestamp: new Date(v.timestamp) });
      assert.equal(body, v.body);
      const id = await deliveryID(body);
      assert.deepEqual(await signedHeaders(await parseKeys(v.secret), id, v.sentAt, body, "lifebuild-auth-worker"), v.headers);
    });
  }
});

test("a secret that is none is logged without being quoted, and nothing is sent", async (t) => {
  assert.notEqual(vectors.refusedSecrets.length, 0);
  for (const refused of vectors.refusedSecrets) {
    await t.test(refused.name, async () => {
      const { notifier, requests, logs } = setup([200], {}, { ...env, WEBHOOK_SECRET: refused.secret });
      assert.equal(await notifier.notify(event), false);
      assert.equal(requests.length, 0);
      assert.deepEqual(logs.map((l) => l.message), ["workspace event lost"]);
      assert.match(String(logs[0]?.fields["error"]), /WEBHOOK_SECRET: entry \d+ /);
      for (const part of refused.secret.split(/[_,@]/)) {
        if (part.length > 5) assert.ok(!JSON.stringify(logs).includes(part));
      }
    });
  }
});

test("a time that has no form is logged, and nothing is sent", async (t) => {
  assert.notEqual(vectors.refusedTimestamps.length, 0);
  for (const refused of vectors.refusedTimestamps) {
    await t.test(refused.name, async () => {
      const { notifier, requests, logs } = setup([200]);
      assert.equal(await notifier.notify({ ...event, timestamp: new Date(refused.unixMilli) }), false);
      assert.equal(requests.length, 0);
      assert.deepEqual(logs.map((l) => l.message), ["workspace event lost"]);
      assert.match(String(logs[0]?.fields["error"]), /not within the years 0 to 9999/);
    });
  }
});

test("whatever a caller without types hands over, nothing is thrown", async (t) => {
  const nothing = undefined as never;
  const failing = () => {
    throw new Error("must-not-come-out");
  };
  const failingLogger = { debug: failing, warn: failing, error: failing };

  await t.test("no event", async () => {
    const { notifier, requests, logs } = setup([200]);
    assert.equal(await notifier.notify(nothing), false);
    assert.equal(await notifier.notify({} as never), false);
    assert.equal(requests.length, 0);
    assert.deepEqual(logs.map((l) => l.message), ["workspace event lost", "workspace event lost"]);
  });
  await t.test("no event, and no settings", async () => {
    const { notifier, logs } = setup([200], {}, {});
    assert.equal(await notifier.notify(nothing), false);
    assert.deepEqual(logs.map((l) => l.message), ["workspace event not sent"]);
  });
  await t.test("no environment", async () => {
    const lines: string[] = [];
    const write = (message: string) => lines.push(message);
    const notifier = createNotifier(undefined, { logger: { debug: write, warn: write, error: write } });
    assert.equal(await notifier.notify(event), false);
    assert.deepEqual(lines, ["workspace event not sent"]);
  });
  await t.test("a logger that throws, with an event that is lost", async () => {
    const { notifier, requests } = setup([500], { logger: failingLogger });
    assert.equal(await notifier.notify(event), false);
    assert.equal(requests.length, 3);
    assert.equal(await notifier.notify(nothing), false);
  });
  await t.test("a logger that throws, with an event that is taken in the end", async () => {
    const { notifier, requests } = setup([500, 200], { logger: failingLogger });
    assert.equal(await notifier.notify(event), true);
    assert.equal(requests.length, 2);
  });
  await t.test("a logger that is none", async () => {
    const { notifier } = setup([500], { logger: {} as never });
    assert.equal(await notifier.notify(event), false);
  });
});

test("the cause of a network error is logged", async (t) => {
  const refused = Object.assign(new AggregateError([]), { code: "ECONNREFUSED" });
  const cases: [name: string, error: Error, says: string][] = [
    ["as it is", new TypeError("fetch failed", { cause: new Error("getaddrinfo ENOTFOUND edge") }), "TypeError: fetch failed (Error: getaddrinfo ENOTFOUND edge)"],
    ["by its code, when it says nothing", new TypeError("fetch failed", { cause: refused }), "TypeError: fetch failed (AggregateError: ECONNREFUSED)"],
    ["unless there is none", new TypeError("fetch failed"), "TypeError: fetch failed"],
  ];
  for (const [name, error, says] of cases) {
    await t.test(name, async () => {
      const { notifier, logs } = setup([error], { attempts: 1 });
      assert.equal(await notifier.notify(event), false);
      assert.deepEqual(logs.map((l) => l.fields["error"]), [says, says]);
    });
  }
});

test("a delivery ends", async (t) => {
  const cases: [name: string, answers: Answer[], attempts: number, taken: boolean][] = [
    ["with any 2xx", [202], 1, true],
    ["with the first 2xx after a server's fault", [500, 204], 2, true],
    ["with the first 2xx after a network error", [new TypeError("fetch failed"), new TypeError("fetch failed"), 200], 3, true],
    ["with the first 2xx after a redirect", [302, 200], 2, true],
    ["with a 2xx that follows a key's rotation", [401, 200], 2, true],
    ["after a time-out of the receiver's and a 425", [408, 425, 200], 3, true],
    ["after three attempts that were unauthorized", [401], 3, false],
    ["after three attempts that were not answered", [new TypeError("fetch failed")], 3, false],
    ["at once with 400", [400], 1, false],
    ["at once with 403", [403], 1, false],
    ["at once with 404", [404], 1, false],
    ["at once with 409", [409], 1, false],
    ["at once with 413", [413], 1, false],
    ["at once with 415, and be it after a first failure", [500, 415], 2, false],
    ["at once with 422", [422], 1, false],
  ];
  for (const [name, answers, attempts, taken] of cases) {
    await t.test(name, async () => {
      const { notifier, requests, logs, noSecretIn } = setup(answers);
      assert.equal(await notifier.notify(event), taken);
      assert.equal(requests.length, attempts);
      const failures = taken ? attempts - 1 : attempts;
      assert.deepEqual(
        logs.map((l) => `${l.level}: ${l.message}`),
        [...Array<string>(failures).fill("warn: workspace event not taken"), ...(taken ? [] : ["error: workspace event lost"])],
      );
      noSecretIn();
    });
  }
});

test("every attempt has the same id and body and a signature of its own", async () => {
  const { notifier, requests } = setup([[503, "2"]]);
  assert.equal(await notifier.notify(event), false);
  assert.equal(requests.length, 3);
  assert.equal(new Set(requests.map((r) => r.init.body)).size, 1);
  assert.equal(new Set(requests.map((r) => r.headers["webhook-id"])).size, 1);
  assert.equal(new Set(requests.map((r) => r.headers["webhook-timestamp"])).size, 3);
  assert.equal(new Set(requests.map((r) => r.headers["webhook-signature"])).size, 3);
  for (const r of requests) {
    assert.equal(r.init.method, "POST");
    assert.equal(r.init.redirect, "manual");
    assert.equal(r.headers["x-webhook-secret"], "shared-secret-that-must-not-show");
    assert.equal(r.headers["x-client-name"], "lifebuild-auth-worker");
  }
});

test("pauses double with jitter, up to five seconds", async () => {
  const { notifier, pauses } = setup([500], { attempts: 7, budgetMs: 3_600_000 });
  assert.equal(await notifier.notify(event), false);
  assert.deepEqual(pauses, [375, 750, 1500, 3000, 3750, 3750]); // three quarters of the most, with a random number of 0.5
});

test("Retry-After is obeyed", async (t) => {
  const cases: [name: string, answer: Answer, pauses: number[]][] = [
    ["in seconds, when the receiver is overloaded", [503, "4"], [4375, 4750]],
    ["in seconds, when the sender is too fast", [429, "1"], [1375, 1750]],
    ["as a date", [503, "Mon, 23 Nov 2026 18:30:08 GMT"], [8375, 750]],
    ["and a date that is over means nothing", [503, "Mon, 23 Nov 2026 18:29:00 GMT"], [375, 750]],
    ["and no other status has one", [500, "4"], [375, 750]],
    ["and nonsense means nothing", [503, "-5"], [375, 750]],
    ["and what no number of seconds holds means nothing", [429, "99999999999999999999"], [375, 750]],
    ["and a delivery ends that has no time for it", [503, "25"], []],
    ["and a delivery ends that will never have any", [429, "2147483647"], []],
  ];
  for (const [name, answer, want] of cases) {
    await t.test(name, async () => {
      const { notifier, pauses } = setup([answer]);
      assert.equal(await notifier.notify(event), false);
      assert.deepEqual(pauses, want);
    });
  }
});

test("without a URL or a secret nothing is sent, and a line says so", async (t) => {
  for (const settings of [{}, { SERVER_WEBHOOK_URL: "", WEBHOOK_SECRET: secret }, { ...env, WEBHOOK_SECRET: " " }]) {
    await t.test(Object.keys(settings).join(" and ") || "neither", async () => {
      const { notifier, requests, logs } = setup([200], {}, settings);
      assert.equal(await notifier.notify(event), false);
      assert.equal(requests.length, 0);
      assert.deepEqual(logs.map((l) => `${l.level}: ${l.message}`), ["warn: workspace event not sent"]);
    });
  }
});

test("what makes no sense is logged and nothing is thrown", async (t) => {
  const cases: [name: string, settings: Env, event: WorkspaceEvent, says: RegExp][] = [
    ["a URL that can't be parsed", { ...env, SERVER_WEBHOOK_URL: "must-not-show" }, event, /SERVER_WEBHOOK_URL can't be parsed/],
    ["a URL of another scheme", { ...env, SERVER_WEBHOOK_URL: "ftp://must-not-show" }, event, /no http or https URL/],
    ["a URL with a password", { ...env, SERVER_WEBHOOK_URL: "https://u:must-not-show@example.com" }, event, /holds credentials/],
    ["an event without a time", env, { ...event, timestamp: new Date(NaN) }, /Invalid time value/],
  ];
  for (const [name, settings, sent, says] of cases) {
    await t.test(name, async () => {
      const { notifier, requests, logs, noSecretIn } = setup([200], {}, settings);
      assert.equal(await notifier.notify(sent), false);
      assert.equal(requests.length, 0);
      assert.match(String(logs[0]?.fields["error"]), says);
      noSecretIn();
    });
  }
});

test("a receiver that hangs is given up, attempt by attempt and within the budget", async () => {
  let requests = 0;
  const server = createServer(() => requests++); // never answers
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const lines: string[] = [];
    const write = (message: string, fields: object) => lines.push(message + JSON.stringify(fields));
    const notifier = createNotifier(
      { SERVER_WEBHOOK_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, WEBHOOK_SECRET: secret },
      { attempts: 10, attemptTimeoutMs: 200, budgetMs: 2000, logger: { debug: write, warn: write, error: write } },
    );
    const began = Date.now();
    assert.equal(await notifier.notify(event), false);
    assert.ok(Date.now() - began < 10_000);
    assert.ok(requests >= 2, `${requests} requests`);
    assert.match(lines[0] ?? "", /workspace event not taken.*TimeoutError/);
    assert.match(lines.at(-1) ?? "", /workspace event lost/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a real server gets the contract's request, and a redirect is not followed", async () => {
  const got: { method: string | undefined; headers: object; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      got.push({ method: request.method, headers: request.headers, body });
      response.writeHead(got.length === 1 ? 302 : 200, { Location: "/elsewhere" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const silent = { debug() {}, warn() {}, error() {} };
    const notifier = createNotifier(
      { SERVER_WEBHOOK_URL: `http://127.0.0.1:${port}/webhooks/workspaces`, WEBHOOK_SECRET: secret },
      { logger: silent, clientName: "billing" },
      { sleep: async () => undefined },
    );
    assert.equal(await notifier.notify(event), true);
    assert.equal(got.length, 2);
    for (const request of got) {
      assert.equal(request.method, "POST");
      assert.equal(request.body, encodeEvent(event));
      const headers = request.headers as Record<string, string>;
      assert.equal(headers["content-type"], "application/json");
      assert.equal(headers["x-client-name"], "billing");
      assert.equal(headers["webhook-id"], await deliveryID(encodeEvent(event)));
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
