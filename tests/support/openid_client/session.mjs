// One openid-client, driven by lines of JSON: {"call": name, ...} in, {"ok": ...} or {"error": ...} out.
import { webcrypto } from 'node:crypto'
import { createInterface } from 'node:readline'
import * as client from 'openid-client'

// Node 18 has it, but under no global name.
globalThis.crypto ??= webcrypto

let config
const kept = {}

const calls = {
  async discover({ issuer, clientId, secret }) {
    const proof = secret === undefined ? client.None() : client.ClientSecretBasic(secret)
    config = await client.discovery(new URL(issuer), clientId, undefined, proof, {
      execute: [client.allowInsecureRequests],
    })
    return config.serverMetadata()
  },
  async authorizationUrl({ redirectUri, scope }) {
    kept.pkceCodeVerifier = client.randomPKCECodeVerifier()
    kept.expectedState = client.randomState()
    kept.expectedNonce = client.randomNonce()
    return client.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope,
      state: kept.expectedState,
      nonce: kept.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(kept.pkceCodeVerifier),
      code_challenge_method: 'S256',
    }).href
  },
  async code({ url, ...changes }) {
    const tokens = await client.authorizationCodeGrant(config, new URL(url), {
      ...kept,
      idTokenExpected: true,
      ...changes,
    })
    return { ...tokens, claims: tokens.claims() }
  },
  refresh: ({ token, scope }) => client.refreshTokenGrant(config, token, scope ? { scope } : undefined),
  revoke: async ({ token }) => (await client.tokenRevocation(config, token)) ?? null,
  introspect: ({ token }) => client.tokenIntrospection(config, token),
  credentials: ({ scope }) => client.clientCredentialsGrant(config, { scope }),
  userinfo: ({ token, subject }) => client.fetchUserInfo(config, token, subject),
  async device({ scope }) {
    kept.device = await client.initiateDeviceAuthorization(config, { scope })
    return kept.device
  },
  poll: () => client.pollDeviceAuthorizationGrant(config, kept.device),
  // Past the waiting that the client does by itself, so that the server has to slow it down.
  pollOnce: () =>
    client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:device_code', {
      device_code: kept.device.device_code,
    }),
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...options } = JSON.parse(line)
  let answer
  try {
    answer = { ok: await calls[call](options) }
  } catch (error) {
    answer = { error: error.error ?? error.code ?? error.name, message: `${error.message} ${error.cause ?? ''}` }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
