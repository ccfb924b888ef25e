// Probes of what a cell may hold and refer to, and of what goes with it.

import assert from 'node:assert/strict'
import { businesses } from './access-fixture.mjs'
import { as, attempt, listOf, plant, referenceOf } from './access-probe-tools.mjs'

const { A, B, D } = businesses

const sealedColumns = [
  'gemini_api_key',
  'grok_api_key',
  'claude_api_key',
  'youtube_api_key',
  'kling_access_key',
  'kling_secret_key',
  'global_sms_api_key',
  'whatsapp_api_key',
  'google_access_token',
  'google_refresh_token',
]

export const probes = {
  async 'a planted reference to another cell reveals nothing in the view'(client) {
    await plant(client, A, 'gemini_api_key', await referenceOf(client, B))
    await plant(client, A, 'grok_api_key', await referenceOf(client, A, 'google_refresh_token'))
    const [row] = await as(
      client,
      'owner',
      'select * from public.decrypted_business_secrets where business_id = $1',
      [A],
    )
    assert.deepEqual([row.gemini_api_key, row.grok_api_key], [null, null])
  },

  async 'a planted reference to another cell reveals nothing through the RPC'(client) {
    await plant(client, A, 'gemini_api_key', await referenceOf(client, B))
    const rows = await as(
      client,
      'login',
      "select value, status from public.get_business_secrets_batch(array[$1, $1]::uuid[], '{gemini_api_key,google_refresh_token}')",
      [A],
    )
    assert.deepEqual(rows, [
      { value: null, status: 'undecryptable' },
      { value: 'plain-A-google', status: 'ok' },
    ])
  },

  async 'a reference to another cell is stored as text'(client) {
    const foreign = await referenceOf(client, B)
    const insert = 'insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)'
    await as(client, 'owner', insert, [D, foreign])
    await as(
      client,
      'owner',
      `${insert} on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
      [A, foreign],
    )
    await as(client, 'owner', 'update public.business_secrets set grok_api_key = $2 where business_id = $1', [
      A,
      foreign,
    ])
    const seen = await as(
      client,
      'owner',
      'select gemini_api_key, grok_api_key from public.decrypted_business_secrets where business_id in ($1, $2) order by 1, 2',
      [A, D],
    )
    assert.deepEqual(seen, [
      { gemini_api_key: foreign, grok_api_key: foreign },
      { gemini_api_key: foreign, grok_api_key: null },
    ])
    assert.notEqual(await referenceOf(client, D), foreign)
  },

  async 'a row keeps its business'(client) {
    const move = () =>
      as(client, 'owner', 'update public.business_secrets set business_id = $2 where business_id = $1', [
        A,
        D,
      ])
    assert.equal(await attempt(client, move), 'AS002')
  },

  async 'a row cannot be moved to another tenant, triggers or not'(client) {
    await client.query('set local session_replication_role = replica')
    await client.query('delete from public.business_secrets where business_id <> $1', [A])
    // Reads no column: a WHERE would bring in the policy for SELECT, which refuses too.
    const move = () => as(client, 'owner', 'update public.business_secrets set business_id = $1', [B])
    assert.equal(await attempt(client, move), '42501')
  },

  ...Object.fromEntries(
    sealedColumns.map((column) => [
      `${column} holds nothing but a reference, triggers or not`,
      async (client) => {
        assert.equal(await attempt(client, () => plant(client, A, column, 'plaintext')), '23514')
      },
    ]),
  ),

  async 'a cell that goes takes its Vault row along'(client) {
    const count = async (business) =>
      (
        await listOf(client, 'select name from vault.secrets where name like $1', [
          `business_secrets/${business}/%key`,
        ])
      ).length
    await client.query("update public.business_secrets set grok_api_key = 'another' where business_id = $1", [
      A,
    ])
    assert.equal(await count(A), 2)
    await as(
      client,
      'owner',
      'update public.business_secrets set gemini_api_key = null where business_id = $1',
      [A],
    )
    assert.equal(await count(A), 1)
    await as(client, 'owner', 'delete from public.business_secrets where business_id = $1', [A])
    assert.equal(await count(A), 0)
  },

  async 'a truncated table leaves nothing in Vault'(client) {
    await as(client, 'postgres', 'truncate public.business_secrets')
    assert.deepEqual(
      await listOf(client, "select name from vault.secrets where name like 'business_secrets/%'"),
      [],
    )
  },
}
