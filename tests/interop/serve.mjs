// node serve.mjs VERSION STATE_DIR
//
// Serves the genuine @livestore/sync-cf of the directory VERSION (dev22 or v040) on a free port of 127.0.0.1, its state in STATE_DIR. Prints
// {"url":"ws://…"} to standard output when it is ready and the runtime's output to standard error. Ends on SIGTERM or when standard input closes;
// kill -9 must hit the process group, else workerd, its child, lives on and goes on serving.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { build } from 'esbuild'
import { Miniflare } from 'miniflare'

const [version, stateDir] = process.argv.slice(2)
const here = import.meta.dirname

const bundle = await build({
  stdin: { contents: await readFile(join(here, 'worker.mjs'), 'utf8'), resolveDir: join(here, version) },
  bundle: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  conditions: ['workerd', 'worker', 'browser'],
  external: ['cloudflare:workers'],
})

const miniflare = new Miniflare({
  host: '127.0.0.1',
  port: 0,
  cf: false, // else miniflare fetches a sample of request.cf from Cloudflare
  telemetry: { enabled: false },
  outboundService: () => new Response('the worker may call nobody', { status: 403 }),
  handleRuntimeStdio: (stdout, stderr) => {
    stdout.pipe(process.stderr)
    stderr.pipe(process.stderr)
  },
  modules: true,
  script: bundle.outputFiles[0].text,
  compatibilityDate: '2025-05-07',
  compatibilityFlags: ['enable_request_signal'],
  durableObjects: { SYNC_BACKEND: { className: 'SyncBackend', useSQLite: true } },
  durableObjectsPersist: stateDir,
})

const end = async () => {
  await miniflare.dispose()
  process.exit(0)
}
process.once('SIGTERM', end)
process.stdin.once('close', end).resume()

const url = await miniflare.ready
url.protocol = 'ws:'
console.log(JSON.stringify({ url: url.href }))
