// Whatever text a key is, it comes back as it went in, by every way in and out.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertSynced } from '../support/invariants.mjs'
import { generator, randomSeed } from '../support/random.mjs'
import { addBusiness, batch, clear, get, insertSecrets, sealedNames, set } from '../support/secrets.mjs'
import { anyValue, basicPlane, normalised } from '../support/values.mjs'

const CASES = 10_000
const ROWS = CASES / sealedNames.length

onEachMajor('values', async (t, major) => {
  const db = await freshDatabase(t, major)

  await t.test(
    `${CASES} generated values come back through table, view, RPC and plaintext column`,
    async () => {
      const seed = randomSeed()
      const random = generator(seed)
      const rows = Array.from({ length: ROWS }, () => sealedNames.map(() => anyValue(random)))
      const ids = (
        await db.query(
          "insert into public.businesses (name) select 'generated' from generate_series(1, $1) returning id",
          [ROWS],
        )
      ).map(({ id }) => id)

      // Half through the table, a hundred rows a statement; half through the RPC.
      const half = ROWS / 2
      for (let at = 0; at < half; at += 100) {
        const slice = rows.slice(at, at + 100)
        await db.query(
          `insert into public.business_secrets (business_id, ${sealedNames.join(', ')})
         select * from unnest($1::uuid[]${sealedNames.map((_, i) => `, $${i + 2}::text[]`).join('')})`,
          [ids.slice(at, at + 100), ...sealedNames.map((_, i) => slice.map((row) => row[i]))],
        )
      }
      for (let at = half; at < ROWS; at++) {
        await set(db, ids[at], Object.fromEntries(sealedNames.map((name, i) => [name, rows[at][i]])))
      }

      const view = new Map(
        (
          await db.query('select * from public.decrypted_business_secrets where business_id = any ($1)', [
            ids,
          ])
        ).map((row) => [row.business_id, row]),
      )
      const read = await batch(
        db,
        ids.flatMap((id) => sealedNames.map(() => id)),
        ids.flatMap(() => sealedNames),
      )
      for (const [r, id] of ids.entries()) {
        for (const [c, name] of sealedNames.entries()) {
          const expected = normalised(rows[r][c])
          const where = `seed ${seed}, row ${r}, ${name}`
          assert.equal(view.get(id)[name], expected, where)
          const [status, value] = read[r * sealedNames.length + c]
          assert.deepEqual([status, value], expected === null ? ['not_set', null] : ['ok', expected], where)
        }
      }
      await assertSynced(db)
    },
  )

  await t.test(
    'what counts as white space at the ends is what String.prototype.trim() takes away',
    async () => {
      const characters = [...basicPlane(), '\u{1f600}', '\u{e0020}', '\u{10ffff}']
      const rows = await db.query(
        `select app_secrets.normalize(c) as alone, app_secrets.normalize(c || 'a' || c || 'b' || c) as around
       from unnest($1::text[]) with ordinality as u(c, i) order by i`,
        [characters],
      )
      assert.equal(rows.length, characters.length)
      const wrong = characters.filter(
        (c, i) => rows[i].alone !== normalised(c) || rows[i].around !== normalised(`${c}a${c}b${c}`),
      )
      assert.deepEqual(
        wrong.map((c) => c.codePointAt(0).toString(16)),
        [],
      )
    },
  )

  await t.test(
    '65,536 bytes after trimming are stored, one more is refused, in letters of any width',
    async () => {
      for (const letter of ['a', 'é', '€', '😀']) {
        const width = Buffer.byteLength(letter)
        const most = letter
          .repeat(Math.floor(65_536 / width))
          .padEnd(Math.floor(65_536 / width) * letter.length + (65_536 % width), 'z')
        assert.equal(Buffer.byteLength(most), 65_536)
        const id = await addBusiness(db)
        const cells = {
          gemini_api_key: ` ${most}\n`,
          google_refresh_token: most,
          google_drive_folder_id: most,
        }
        await set(db, id, cells)
        assert.deepEqual(await clear(db, id), { ...cells, gemini_api_key: most })
        for (const name of Object.keys(cells)) {
          await assert.rejects(set(db, id, { [name]: `${most}z` }), { code: 'AS002' }, name)
        }
        await assert.rejects(insertSecrets(db, await addBusiness(db), { gemini_api_key: `${most}z` }), {
          code: 'AS002',
        })
        assert.equal((await get(db, id, ['gemini_api_key'])).gemini_api_key, most)
      }
    },
  )

  await t.test('texts that are equal in meaning but not in bytes are different values', async () => {
    const id = await addBusiness(db)
    await set(db, id, { gemini_api_key: '\u00e9' })
    assert.deepEqual(await set(db, id, { gemini_api_key: 'e\u0301' }), { gemini_api_key: 2 })
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'e\u0301' })
  })

  await t.test('the last four of a value are four letters, and of short values none', async () => {
    const id = await addBusiness(db)
    await set(db, id, {
      gemini_api_key: '12345678901',
      grok_api_key: '123456789012',
      claude_api_key: 'eleven😀😀😀😀😀',
      youtube_api_key: 'more letters 😀😀😀😀',
      google_drive_folder_id: 'a long folder id',
    })
    const rows = await db.query(
      'select name, last4 from public.list_business_secrets($1) where is_set',
      [id],
      'app_service',
    )
    assert.deepEqual(Object.fromEntries(rows.map(({ name, last4 }) => [name, last4])), {
      gemini_api_key: null,
      grok_api_key: '9012',
      claude_api_key: null,
      youtube_api_key: '😀😀😀😀',
      google_drive_folder_id: null,
    })
  })

  await t.test(
    'an expiry keeps its microseconds and comes as UTC, whatever zone it is given and read in',
    async () => {
      const id = await addBusiness(db)
      await set(db, id, { google_token_expiry: '2026-01-31T17:30:00.123456+05:30' })
      const client = await db.connect('app_service')
      await client.query("set timezone = 'America/New_York'; set datestyle = 'German, DMY'")
      const { rows } = await client.query(
        "select public.get_business_secrets($1, array['google_token_expiry']) as result",
        [id],
      )
      assert.deepEqual(rows[0].result, { google_token_expiry: '2026-01-31T12:00:00.123456Z' })
    },
  )
})
