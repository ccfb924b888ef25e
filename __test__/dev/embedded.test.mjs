// The embedded server stands in for Supabase in every other suite: these are the claims the suites rest on.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { legacyBusiness, legacyKeys, normalised } from '../../dev/legacy-data.mjs'
import { startPostgres, withClient } from '../../dev/postgres.mjs'
import { filesWith } from '../support/scan.mjs'

const sqlState = (code) => (error) => {
  assert.equal(error.code, code, error.message)
  return true
}

for (const major of [15, 17, 18]) {
  describe(`PostgreSQL ${major}`, () => {
    let cluster
    before(async () => {
      cluster = await startPostgres({ major })
    })
    after(() => cluster?.stop())

    const as = (role, text, values) => cluster.sql(text, { role, values })
    /** Runs statements under a role without a login, the way the Data API does. */
    const inRole = (role, text) =>
      withClient(cluster.urlFor('authenticator'), async (client) => {
        await client.query(`set role ${role}`)
        return client.query(text)
      })

    test('it is the version that was asked for', async () => {
      const { rows } = await as('postgres', 'show server_version_num')
      assert.equal(Math.floor(rows[0].server_version_num / 10_000), major)
    })

    test('postgres is not a superuser, owns its database and may skip triggers', async () => {
      const { rows } = await as(
        'postgres',
        `select r.rolsuper, r.rolbypassrls, r.rolcreaterole, d.datdba::regrole::text as owner
         from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`,
      )
      assert.deepEqual(rows, [
        { rolsuper: false, rolbypassrls: true, rolcreaterole: true, owner: 'postgres' },
      ])
      await as('postgres', 'set session_replication_role = replica')
    })

    test('auth.uid() is who the token says', async () => {
      const id = '6f1c1f0e-6df0-4f2a-9c62-1d3a5ad1a9ee'
      const { rows } = await as(
        'postgres',
        `select auth.uid() as uid, auth.role() as role, auth.jwt() ->> 'email' as email
         from set_config('request.jwt.claims', $1, true)`,
        [JSON.stringify({ sub: id, role: 'authenticated', email: 'a@example.com' })],
      )
      assert.deepEqual(rows, [{ uid: id, role: 'authenticated', email: 'a@example.com' }])
    })

    test('a secret comes back as it was, and an update keeps its nonce', async () => {
      for (const plain of ['sk_live_1', '', 'ключ 🔑', 'x'.repeat(65_536)]) {
        const { rows } = await as('postgres', 'select vault.create_secret($1) as id', [plain])
        const [stored] = await secret(rows[0].id)
        assert.equal(stored.decrypted_secret, plain)
        await as('postgres', 'select vault.update_secret($1, $2)', [rows[0].id, `${plain}+`])
        const [updated] = await secret(rows[0].id)
        assert.equal(updated.decrypted_secret, `${plain}+`)
        assert.deepEqual(updated.nonce, stored.nonce)
        assert.notEqual(updated.secret, stored.secret)
      }
    })

    test('an update of an id that is not there does nothing', async () => {
      await as('postgres', "select vault.update_secret('00000000-0000-0000-0000-000000000000', 'x')")
      assert.deepEqual(await secret('00000000-0000-0000-0000-000000000000'), [])
    })

    test('a null description is refused without the plaintext in the detail', async () => {
      const marker = `null-description-${randomBytes(8).toString('hex')}`
      await assert.rejects(
        as('postgres', 'select vault.create_secret($1, null, null)', [marker]),
        (error) => {
          assert.equal(error.code, '23502')
          assert.ok(!JSON.stringify({ ...error }).includes(marker))
          return true
        },
      )
    })

    test('postgres may read and delete secrets, and neither insert, update nor encrypt', async () => {
      const { rows } = await as('postgres', "select vault.create_secret('to be deleted') as id")
      const refused = [
        "insert into vault.secrets (secret) values ('x')",
        "update vault.secrets set secret = 'x'",
        "select vault._crypto_aead_det_encrypt('x', 'x', 0)",
        'select vault._crypto_aead_det_noncegen()',
      ]
      for (const statement of refused)
        await assert.rejects(as('postgres', statement), sqlState('42501'), statement)
      const deleted = await as('postgres', 'delete from vault.secrets where id = $1', [rows[0].id])
      assert.equal(deleted.rowCount, 1)
    })

    test('anon and authenticated see nothing of the vault; service_role may decrypt', async () => {
      for (const role of ['anon', 'authenticated']) {
        await assert.rejects(inRole(role, 'select from vault.decrypted_secrets'), sqlState('42501'), role)
      }
      await inRole('service_role', 'select decrypted_secret from vault.decrypted_secrets')
    })

    test('the root key is a file of mode 0600 that SQL gives to nobody', async () => {
      const { mode } = statSync(cluster.vaultKeyFile)
      assert.equal(mode & 0o777, 0o600)
      assert.ok(!cluster.vaultKeyFile.startsWith(`${cluster.dataDir}/`))
      const attempts = [
        `select pg_read_binary_file('${cluster.vaultKeyFile}')`,
        `copy (select) to program 'cat ${cluster.vaultKeyFile}'`,
        'select vault._root_key()',
      ]
      for (const attempt of attempts) {
        await assert.rejects(as('postgres', attempt), sqlState('42501'), attempt)
        await assert.rejects(inRole('service_role', attempt), sqlState('42501'), attempt)
      }
    })

    test('a session cannot choose the root key', async () => {
      await withClient(cluster.urlFor('postgres'), async (client) => {
        const { rows } = await client.query("select vault.create_secret('own key') as id")
        await client.query("set vault.root_key_file = '/etc/hostname'")
        const read = await client.query(
          'select decrypted_secret from vault.decrypted_secrets where id = $1',
          [rows[0].id],
        )
        assert.equal(read.rows[0].decrypted_secret, 'own key')
      })
    })

    test('a moved, a tampered and a wrongly keyed ciphertext are refused with 22000', async () => {
      const ids = []
      for (const plain of ['moved', 'tampered', 'nonce', 'intact']) {
        const { rows } = await as('postgres', 'select vault.create_secret($1) as id', [plain])
        ids.push(rows[0].id)
      }
      const [moved, tampered, nonce, intact] = ids
      await as(
        'supabase_admin',
        `update vault.secrets m set secret = i.secret, nonce = i.nonce
         from vault.secrets i where m.id = $1 and i.id = $2`,
        [moved, intact],
      )
      await as(
        'supabase_admin',
        `update vault.secrets
         set secret = encode(set_byte(d.raw, length(d.raw) - 1, get_byte(d.raw, length(d.raw) - 1) # 1), 'base64')
         from (select decode(secret, 'base64') as raw from vault.secrets where id = $1) d where id = $1`,
        [tampered],
      )
      await as('supabase_admin', "update vault.secrets set nonce = '\\x00' where id = $1", [nonce])

      for (const id of [moved, tampered, nonce]) {
        await assert.rejects(
          secret(id),
          (error) => /invalid ciphertext/.test(error.message) && error.code === '22000',
        )
        // The real one decrypts before it updates.
        await assert.rejects(
          as('postgres', 'select vault.update_secret($1, $2)', [id, 'x']),
          sqlState('22000'),
        )
      }
      assert.equal((await secret(intact))[0].decrypted_secret, 'intact')

      const key = readFileSync(cluster.vaultKeyFile)
      writeFileSync(cluster.vaultKeyFile, randomBytes(32))
      await assert.rejects(secret(intact), sqlState('22000'))
      writeFileSync(cluster.vaultKeyFile, key)
      assert.equal((await secret(intact))[0].decrypted_secret, 'intact')
      await as('supabase_admin', 'delete from vault.secrets where id = any($1)', [ids])
    })

    test('one undecryptable row is only met by those who ask for it', async () => {
      const { rows } = await as('postgres', "select vault.create_secret('fine', 'lazy-fine') as id")
      await as(
        'supabase_admin',
        "insert into vault.secrets (name, secret) values ('lazy-broken', encode('x', 'base64'))",
      )
      assert.equal((await secret(rows[0].id))[0].decrypted_secret, 'fine')
      await as('postgres', 'select id, name, secret from vault.decrypted_secrets')
      await assert.rejects(
        as('postgres', 'select decrypted_secret from vault.decrypted_secrets'),
        sqlState('22000'),
      )
      await as('postgres', "delete from vault.secrets where name like 'lazy-%'")
    })

    test('a new database has the platform and is owned by postgres', async () => {
      const database = await cluster.createDatabase()
      await withClient(database.admin, async (client) => {
        const { rows } = await client.query(
          "select vault.create_secret('x') as id, current_database() as name",
        )
        assert.equal(rows[0].name, database.name)
        await client.query('create table public.t (id int)')
      })
      await cluster.dropDatabase(database.name)
    })

    const secret = async (id) =>
      (await as('postgres', 'select * from vault.decrypted_secrets where id = $1', [id])).rows
  })
}

describe('what is written to disk', () => {
  test('a stored secret is in no heap, WAL or log file, where a planted one is found', async () => {
    const cluster = await startPostgres({ settings: { log_min_messages: 'debug1', log_statement: 'all' } })
    try {
      const hidden = `hidden-${randomBytes(12).toString('hex')}`
      const control = `control-${randomBytes(12).toString('hex')}`
      await cluster.sql(
        `create table public.planted as select convert_from(decode('${hex(control)}', 'hex'), 'utf8') as value`,
      )
      await withClient(cluster.urlFor('postgres'), async (client) => {
        const { rows } = await client.query(
          "select vault.create_secret(convert_from(decode($1, 'hex'), 'utf8')) as id",
          [hex(hidden)],
        )
        const update = "select vault.update_secret($1, convert_from(decode($2, 'hex'), 'utf8') || '+')"
        await client.query(update, [rows[0].id, hex(hidden)])
        await client.query(
          `do $$ begin raise log '%', convert_from(decode('${hex(control)}', 'hex'), 'utf8'); end $$`,
        )
      })
      await cluster.sql('checkpoint')

      const found = (marker, folder) => filesWith(folder, marker).map((file) => join(folder, file))
      assert.ok(found(control, join(cluster.dataDir, 'base')).length > 0, 'control in the heap')
      assert.ok(found(control, join(cluster.dataDir, 'pg_wal')).length > 0, 'control in the WAL')
      assert.ok(cluster.log().includes(control), 'control in the log')
      assert.deepEqual(found(hidden, cluster.dir), [])
      // Nor the key, which only its own file holds.
      const key = readFileSync(cluster.vaultKeyFile)
      assert.deepEqual(found(key, cluster.dir), [cluster.vaultKeyFile])
      assert.deepEqual(found(key.toString('hex'), cluster.dir), [])
    } finally {
      await cluster.stop()
    }
  })
})

describe('Data API defaults', () => {
  const privileges = async (cluster) => {
    const results = await cluster.sql(
      `create table public.probe (id int);
       create function public.probe() returns int language sql return 1;
       select r.rolname as role,
              has_table_privilege(r.rolname, 'public.probe', 'select') as "select",
              has_table_privilege(r.rolname, 'public.probe', 'insert') as insert,
              has_table_privilege(r.rolname, 'public.probe', 'truncate') as truncate,
              has_table_privilege(r.rolname, 'public.probe', 'references') as references,
              has_table_privilege(r.rolname, 'public.probe', 'trigger') as trigger,
              has_function_privilege(r.rolname, 'public.probe()', 'execute') as execute
       from pg_roles r where r.rolname in ('anon', 'authenticated', 'service_role') order by 1`,
      { role: 'postgres' },
    )
    return results.at(-1).rows
  }

  for (const dataApi of ['2026', 'legacy']) {
    test(`${dataApi}: what the API roles may do with something new`, async () => {
      const cluster = await startPostgres({ dataApi })
      try {
        const data = dataApi === 'legacy'
        for (const row of await privileges(cluster)) {
          assert.deepEqual(row, {
            role: row.role,
            select: data,
            insert: data,
            truncate: true,
            references: true,
            trigger: true,
            execute: true,
          })
        }
      } finally {
        await cluster.stop()
      }
    })
  }
})

describe('life and death', () => {
  test('restart keeps port and data, after a clean stop and after a crash', async () => {
    const cluster = await startPostgres({ durable: true })
    try {
      const { port } = cluster
      await cluster.sql('create table kept (n int); insert into kept values (1)')
      await cluster.restart({ settings: { work_mem: '5MB' } })
      assert.equal((await cluster.sql('show work_mem')).rows[0].work_mem, '5MB')
      await cluster.sql('insert into kept values (2)')
      await cluster.stopImmediate()
      await assert.rejects(cluster.sql('select 1'), { code: 'ECONNREFUSED' })
      await cluster.restart()
      assert.equal(cluster.port, port)
      assert.equal((await cluster.sql('select count(*)::int as n from kept')).rows[0].n, 2)
    } finally {
      await cluster.stop()
    }
    assert.ok(!existsSync(cluster.dir))
  })

  for (const end of [
    'SIGKILL',
    'SIGINT',
    'SIGTERM',
    'process.exit()',
    'an exception',
    'nothing left to do',
  ]) {
    test(`a parent that ends by ${end} leaves no server and no folder`, async () => {
      const { pid, dir, parent } = await startInChild(end)
      assert.ok(end !== 'SIGKILL' || runs(pid))
      if (end.startsWith('SIG')) parent.kill(end)
      await eventually(() => !runs(pid) && !existsSync(dir))
    })
  }

  test('a server that cannot start says why and leaves no folder', async () => {
    const place = mkdtempSync(join(tmpdir(), 'embedded-test-'))
    chmodSync(place, 0o755)
    const { TMPDIR } = process.env
    process.env.TMPDIR = place
    try {
      await assert.rejects(
        startPostgres({ settings: { shared_buffers: 'plenty' } }),
        /invalid value.*shared_buffers/s,
      )
      assert.deepEqual(readdirSync(place), [])
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
      rmdirSync(place)
    }
  })
})

describe('legacy data', () => {
  test('is the same for a seed, holds the marker in every key, and has every combination of keys', () => {
    assert.deepEqual(legacyBusiness(7), legacyBusiness(7))
    assert.notDeepEqual(legacyBusiness(7), legacyBusiness(7, { seed: 2 }))
    const all = Array.from({ length: 1000 }, (_, i) => legacyBusiness(i, { marker: 'the-marker' }))
    const values = all.flatMap(({ keys }) => Object.values(keys)).filter((value) => value !== null)
    assert.ok(values.every((value) => normalised(value) === null || value.includes('the-marker')))
    assert.ok(values.some((value) => normalised(value) === null))
    assert.ok(values.some((value) => value.length >= 8192))
    assert.ok(values.some((value) => value !== value.trim() && value.trim() !== ''))
    const mixes = all.slice(0, 256).map(({ keys }) => legacyKeys.map((name) => keys[name] !== null).join())
    assert.equal(new Set(mixes).size, 256)
    assert.ok(all.some(({ keys, google }) => google && legacyKeys.every((name) => keys[name] === null)))
  })
})

const hex = (text) => Buffer.from(text).toString('hex')

/** Starts a server in a process of its own, which then ends in the given way. */
async function startInChild(end) {
  const module = new URL('../../dev/postgres.mjs', import.meta.url)
  const then = {
    'process.exit()': 'process.exit(0)',
    'an exception': "throw new Error('expected')",
    'nothing left to do': '',
  }
  const script = `
    import { startPostgres } from ${JSON.stringify(module.href)}
    const cluster = await startPostgres({ platform: false })
    process.stdout.write(JSON.stringify({ pid: cluster.pid, dir: cluster.dir }) + '\\n', () => {
      ${then[end] ?? 'setInterval(() => {}, 1000)'}
    })`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', end === 'an exception' ? 'ignore' : 'inherit'],
  })
  const [line] = await once(parent.stdout, 'data')
  return { parent, ...JSON.parse(line) }
}

function runs(pid) {
  try {
    if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return false
  } catch {
    // No /proc here, or no such process: the signal decides.
  }
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function eventually(condition, timeoutMs = 60_000) {
  const deadline = Date.now() + timeoutMs
  while (!condition()) {
    assert.ok(Date.now() < deadline, `still not so after ${timeoutMs} ms`)
    await delay(20)
  }
}
