// The genuine sync backend as a Cloudflare Worker. serve.mjs bundles it with the packages of one version.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class SyncBackend extends makeDurableObject({ storage: { _tag: 'do-sqlite' } }) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND',
  validatePayload: (payload) => {
    if (payload?.serverBypass !== 'interop-token') throw new Error('Unauthorized')
  },
})
