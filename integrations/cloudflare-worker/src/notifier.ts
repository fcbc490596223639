/**
 * Tells Storekeeper of created and deleted workspaces, from a Cloudflare Worker. This one file is all there is: it needs nothing but
 * the web-standard fetch and crypto.subtle. The Go package notifier/ does the same, and both are held to the same bytes by
 * notifier/testdata/vectors.json.
 */

/** The variables and secrets of the Worker that are read. */
export interface Env {
  /** Where events are sent, such as https://storekeeper.example.com/webhooks/workspaces. Without it nothing is sent. */
  readonly SERVER_WEBHOOK_URL?: string | undefined;
  /**
   * One key or secret, or several separated by commas. All of them are used for every request. Without it nothing is sent.
   *
   * - `whsec_<base64 of 24 to 64 bytes>` signs with HMAC-SHA256 (v1)
   * - `whsk_<base64>` signs with an Ed25519 private key (v1a): its seed of 32 bytes, or seed and public key, 64 bytes
   * - anything else is a shared secret, sent as it is in X-Webhook-Secret; of several the first one is sent
   */
  readonly WEBHOOK_SECRET?: string | undefined;
}

/** Something that has happened to a workspace. */
export interface WorkspaceEvent {
  readonly type: "workspace.created" | "workspace.deleted";
  readonly instanceId: string;
  /** The id of the workspace's owner. */
  readonly userId: string;
  /** When it happened. It orders the events of a workspace. Its year, in UTC, must be 0 to 9999, since RFC 3339 can write no others. */
  readonly timestamp: Date;
}

/** What gets a line for every failure, never with a secret. `console` is one. */
export interface Logger {
  debug(message: string, fields: object): void;
  warn(message: string, fields: object): void;
  error(message: string, fields: object): void;
}

export interface Options {
  /** Sent in X-Client-Name; `lifebuild-auth-worker` by default. */
  readonly clientName?: string;
  /** How many requests are made for one event at most; 3 by default. */
  readonly attempts?: number;
  /** How long one request may take; 10,000 by default. */
  readonly attemptTimeoutMs?: number;
  /** How long all attempts and the pauses between them may take; 25,000 by default, because `waitUntil` ends after 30 s. */
  readonly budgetMs?: number;
  /** `console` by default. */
  readonly logger?: Logger;
}

/** What tests replace. */
export interface Runtime {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** From 0 up to, not including, 1. */
  readonly random: () => number;
}

export interface Notifier {
  /**
   * Delivers an event and resolves to whether it was taken. It never throws and never rejects: what went wrong is logged. Storekeeper finds
   * out what it missed when it next compares its stores with the Auth Worker's list. Hand it to `ctx.waitUntil`, so that nobody waits for it.
   */
  notify(event: WorkspaceEvent): Promise<boolean>;
}

const firstPauseMs = 500;
const maxPauseMs = 5_000;

const runtime: Runtime = {
  fetch: (url, init) => fetch(url, init),
  now: () => Date.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  random: () => Math.random(),
};

/** Returns a notifier. It never throws: when settings are missing or make no sense, notify logs why it sends nothing. */
export function createNotifier(env: Env | undefined, options: Options = {}, replaced: Partial<Runtime> = {}): Notifier {
  const log = patient(options.logger ?? console);
  const url = env?.SERVER_WEBHOOK_URL ?? "";
  const secret = env?.WEBHOOK_SECRET ?? "";
  const delivery = new Delivery(url, options, log, { ...runtime, ...replaced });
  let keys: Promise<Keys> | undefined; // parsed once, by the first event

  return {
    async notify(event) {
      try {
        if (url === "" || secret.trim() === "") {
          log.warn("workspace event not sent", { ...named(event), reason: "no URL or no secret is set" });
          return false;
        }
        checkURL(url);
        keys ??= parseKeys(secret);
        return await delivery.deliver(event, await keys);
      } catch (error) {
        log.error("workspace event lost", { ...named(event), error: reason(error) });
        return false;
      }
    },
  };
}

/** Returns a logger that swallows what the given one throws: a line that fails must not cost an event. */
function patient(log: Logger): Logger {
  const attempt = (level: keyof Logger) => (message: string, fields: object) => {
    try {
      log[level](message, fields);
    } catch {
      // There is nobody left to tell.
    }
  };
  return { debug: attempt("debug"), warn: attempt("warn"), error: attempt("error") };
}

/** The fields of an event that every log line has. A caller without types may have sent no event. */
function named(event: WorkspaceEvent | undefined): object {
  return { event: event?.type, instanceId: event?.instanceId };
}

/** What an error says, and what its cause says: for a network error, fetch itself says only that it failed. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const said = ({ name, message, code }: Error & { code?: unknown }) => `${name}: ${message || String(code)}`;
  return error.cause instanceof Error ? `${said(error)} (${said(error.cause)})` : said(error);
}

function checkURL(text: string): void {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Error("SERVER_WEBHOOK_URL can't be parsed"); // the parser's own error repeats it
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new Error("SERVER_WEBHOOK_URL is no http or https URL");
  if (url.username !== "" || url.password !== "") throw new Error("SERVER_WEBHOOK_URL holds credentials");
}

/** Delivers one event: attempts, and the pauses between them. */
class Delivery {
  readonly #url: string;
  readonly #log: Logger;
  readonly #runtime: Runtime;
  readonly #attempts: number;
  readonly #attemptTimeoutMs: number;
  readonly #budgetMs: number;
  readonly #clientName: string;

  constructor(url: string, options: Options, log: Logger, runtime: Runtime) {
    this.#url = url;
    this.#log = log;
    this.#runtime = runtime;
    this.#attempts = options.attempts ?? 3;
    this.#attemptTimeoutMs = options.attemptTimeoutMs ?? 10_000;
    this.#budgetMs = options.budgetMs ?? 25_000;
    this.#clientName = options.clientName ?? "lifebuild-auth-worker";
  }

  async deliver(event: WorkspaceEvent, keys: Keys): Promise<boolean> {
    const { now, random, sleep } = this.#runtime;
    const body = encodeEvent(event);
    const id = await deliveryID(body);
    const deadline = now() + this.#budgetMs;
    for (let attempt = 1; ; attempt++) {
      const failure = await this.#attempt(id, body, keys, deadline);
      if (failure === undefined) return true;
      const fields = { ...named(event), deliveryId: id, error: failure.error };
      this.#log.warn("workspace event not taken", { ...fields, attempt });
      const most = Math.min(maxPauseMs, firstPauseMs * 2 ** (attempt - 1));
      const pause = most / 2 + (random() * most) / 2 + failure.retryAfterMs;
      if (attempt >= this.#attempts || isFinal(failure.status) || now() + pause >= deadline) {
        this.#log.error("workspace event lost", { ...fields, attempts: attempt });
        return false;
      }
      await sleep(pause);
    }
  }

  /** Makes one request and returns why it failed; undefined when the event was taken, which any 2xx means. */
  async #attempt(id: string, body: string, keys: Keys, deadline: number): Promise<Failure | undefined> {
    const { fetch, now } = this.#runtime;
    const headers = await signedHeaders(keys, id, Math.floor(now() / 1000), body, this.#clientName);
    const timeout = Math.max(0, Math.min(this.#attemptTimeoutMs, deadline - now()));
    try {
      const response = await fetch(this.#url, {
        method: "POST",
        headers,
        body,
        redirect: "manual", // a redirect is not a 2xx, and the secret is not meant for others
        signal: AbortSignal.timeout(timeout),
      });
      await response.body?.cancel().catch(() => undefined); // the status alone decides
      if (response.status >= 200 && response.status <= 299) return undefined;
      return {
        status: response.status,
        error: `the receiver answered with status ${response.status}`,
        retryAfterMs: retryAfterMs(response, now()),
      };
    } catch (error) {
      return { status: 0, error: reason(error), retryAfterMs: 0 };
    }
  }
}

interface Failure {
  /** 0 when there was no answer. */
  readonly status: number;
  readonly error: string;
  /** How long the receiver asks to be left alone; 0 when it does not ask. */
  readonly retryAfterMs: number;
}

/** Whether another attempt would get the same answer. After a 401 it may not: keys are not changed everywhere in the same moment. */
function isFinal(status: number): boolean {
  return status >= 400 && status <= 499 && ![401, 408, 425, 429].includes(status);
}

/** How long the answer asks to wait; 0 when it does not ask, or not in a way that makes sense. */
function retryAfterMs(response: Response, now: number): number {
  if (response.status !== 429 && response.status !== 503) return 0;
  const said = response.headers.get("Retry-After") ?? "";
  if (/^\d+$/.test(said)) return Number(said) < 2 ** 31 ? Number(said) * 1000 : 0;
  const at = /^[A-Z][a-z]{2}, .* GMT$/.test(said) ? Date.parse(said) : NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}

/** The body of an event. Lone surrogates, which UTF-8 has no bytes for, become U+FFFD. It throws for a time that RFC 3339 can't write. */
export function encodeEvent(event: WorkspaceEvent): string {
  const year = event.timestamp.getUTCFullYear();
  if (year < 0 || year > 9999) throw new Error("the event's timestamp is not within the years 0 to 9999");
  return JSON.stringify({
    event: wellFormed(event.type),
    instanceId: wellFormed(event.instanceId),
    userId: wellFormed(event.userId),
    timestamp: event.timestamp.toISOString(),
  });
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd"); // with the flag u, a pair counts as the character that it stands for
}

/**
 * The webhook-id of an event. It depends on the body alone. So all attempts have the same id, even in another invocation, and the
 * receiver recognizes a repeat.
 */
export async function deliveryID(body: string): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(body)));
  const text = base64(hash.subarray(0, 24)); // 24 bytes are 32 characters
  return `evt_${text.replaceAll("+", "-").replaceAll("/", "_")}`;
}

/** What requests are authenticated with. */
export interface Keys {
  /** undefined when there is none. */
  readonly shared: string | undefined;
  readonly signers: readonly Signer[];
}

/** Returns one signature, with its version, for webhook-signature. */
export type Signer = (content: string) => Promise<string>;

/** Reads a setting of the form that Env.WEBHOOK_SECRET describes. It rejects what makes no sense, and its errors quote nothing of it. */
export async function parseKeys(setting: string): Promise<Keys> {
  let shared: string | undefined;
  const signers: Signer[] = [];
  for (const [index, entry] of setting.split(",").entries()) {
    const signer = await parseSigner(entry.trim(), `WEBHOOK_SECRET: entry ${index + 1}`);
    if (signer !== undefined) signers.push(signer);
    else shared ??= entry.trim();
  }
  return { shared, signers };
}

/** Returns the signer of one entry; undefined for a shared secret. */
async function parseSigner(entry: string, name: string): Promise<Signer | undefined> {
  if (entry === "") throw new Error(`${name} is empty`);
  // Anything else would fit in no header, and fetch would quote it in its error.
  if (!/^[!-~]+$/.test(entry)) throw new Error(`${name} has characters that are not printable ASCII, or white space`);
  const kind = /^(whsec|whsk|whpk)_/.exec(entry)?.[1];
  if (kind === undefined) return undefined;
  if (kind === "whpk") throw new Error(`${name} is a public key, which can't sign: the sender has the private one, whsk_…`);
  if (entry.includes("@")) throw new Error(`${name} has a validity window: only the receiver's keys have one`);
  const key = unbase64(entry.slice(kind.length + 1));
  if (key === undefined) throw new Error(`${name} is not of base64 after its prefix`);
  if (kind === "whsec") {
    if (key.length < 24 || key.length > 64) throw new Error(`${name} is no whsec_ key of 24 to 64 bytes`);
    return symmetric(key);
  }
  if (key.length !== 32 && key.length !== 64) throw new Error(`${name} is no whsk_ key of 32 or 64 bytes`);
  return asymmetric(key, name);
}

async function symmetric(key: BufferSource): Promise<Signer> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return async (content) => `v1,${base64(await crypto.subtle.sign("HMAC", imported, utf8(content)))}`;
}

/** What comes before the seed in a PKCS #8 key of Ed25519 (RFC 8410), the form that crypto.subtle wants. */
const pkcs8Prefix = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

async function asymmetric(key: Uint8Array, name: string): Promise<Signer> {
  const pkcs8 = new Uint8Array([...pkcs8Prefix, ...key.subarray(0, 32)]);
  const imported = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "Ed25519" }, false, ["sign"]);
  const sign = (content: BufferSource) => crypto.subtle.sign("Ed25519", imported, content);
  if (key.length === 64) {
    const probe = utf8("probe");
    const publicKey = await crypto.subtle.importKey("raw", new Uint8Array(key.subarray(32)), { name: "Ed25519" }, false, ["verify"]);
    if (!(await crypto.subtle.verify("Ed25519", publicKey, await sign(probe), probe))) {
      throw new Error(`${name} is a whsk_ key whose public half belongs to another one`);
    }
  }
  return async (content) => `v1a,${base64(await sign(utf8(content)))}`;
}

/** The headers of one attempt; timestamp is in Unix seconds. */
export async function signedHeaders(
  keys: Keys,
  id: string,
  timestamp: number,
  body: string,
  clientName: string,
): Promise<Record<string, string>> {
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "x-client-name": clientName,
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
  };
  const signatures = await Promise.all(keys.signers.map((sign) => sign(`${id}.${timestamp}.${body}`)));
  if (signatures.length > 0) headers["webhook-signature"] = signatures.join(" ");
  if (keys.shared !== undefined) headers["x-webhook-secret"] = keys.shared;
  return headers;
}

function utf8(text: string) {
  return new TextEncoder().encode(text);
}

function base64(bytes: ArrayBuffer | Uint8Array): string {
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
}

/** Decodes base64, padded or not; undefined when it is none. atob alone would accept more. */
function unbase64(text: string) {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(text)) return undefined;
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
