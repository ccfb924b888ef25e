// ON CONFLICT, MERGE and races: what is inserted may turn out to be there already, and no Vault row may come of it.

import assert from 'node:assert/strict'
import { freshDatabase, onEachMajor } from '../support/cluster.mjs'
import { assertIntact, assertSynced } from '../support/invariants.mjs'
import {
  addBusiness,
  clear,
  history,
  insertSecrets,
  stored,
  updateSecrets,
  versions,
} from '../support/secrets.mjs'

const upsert = `
  insert into public.business_secrets (business_id, gemini_api_key, grok_api_key) values ($1, $2, $3)
  on conflict (business_id) do update set
    gemini_api_key = excluded.gemini_api_key, grok_api_key = excluded.grok_api_key`

onEachMajor('upserts', async (t, major) => {
  const db = await freshDatabase(t, major)
  const claim = (name, body) =>
    t.test(name, async (t) => {
      await body(t)
      await assertSynced(db)
    })
  const existing = async (values) => {
    const id = await addBusiness(db)
    await insertSecrets(db, id, values)
    return id
  }

  await claim('an upsert of a new row inserts it, and of an existing one updates it', async () => {
    const id = await addBusiness(db)
    await db.query(upsert, [id, 'one', 'two'])
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'one', grok_api_key: 'two' })
    await db.query(upsert, [id, ' three ', null])
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'three' })
    assert.deepEqual(await versions(db, id), { gemini_api_key: 2, grok_api_key: 2 })
  })

  await claim('an upsert of some columns leaves the others', async () => {
    const id = await existing({
      gemini_api_key: 'one',
      claude_api_key: 'stays',
      google_access_token: 'stays too',
    })
    await db.query(upsert, [id, 'two', 'three'])
    assert.deepEqual(await clear(db, id), {
      gemini_api_key: 'two',
      grok_api_key: 'three',
      claude_api_key: 'stays',
      google_access_token: 'stays too',
    })
  })

  await claim('an upsert of a row that was read, or of equal values, changes nothing', async () => {
    const id = await existing({ gemini_api_key: 'one', grok_api_key: 'two' })
    const [row, before] = [await stored(db, id), await history(db, id)]
    await db.query(upsert, [id, row.gemini_api_key, row.grok_api_key])
    await db.query(upsert, [id, 'one', ' two'])
    assert.deepEqual(await stored(db, id), row)
    assert.deepEqual(await history(db, id), before)
  })

  await claim('do nothing seals a new row and leaves an existing one as it was', async () => {
    const id = await addBusiness(db)
    const insert = `insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2) on conflict do nothing`
    await db.query(insert, [id, 'one'])
    await db.query(insert, [id, 'two'])
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'one' })
    assert.deepEqual(await history(db, id), ['gemini_api_key set 1 sealed'])
  })

  await claim(
    'do update … where false changes nothing, nor does it touch what the transaction writes next',
    async () => {
      const id = await existing({ gemini_api_key: 'one' })
      const row = await stored(db, id)
      await db.query('begin')
      await db.query(`${upsert} where false`, [id, 'two', 'three'])
      assert.deepEqual(await stored(db, id), row)
      await updateSecrets(db, id, { claude_api_key: 'four' })
      await db.query('commit')
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'one', claude_api_key: 'four' })
    },
  )

  await claim(
    'do update may assign a literal, another column of excluded, or fall back on what is there',
    async () => {
      const id = await existing({ gemini_api_key: 'one', grok_api_key: 'two' })
      await db.query(
        `insert into public.business_secrets (business_id, gemini_api_key, claude_api_key) values ($1, 'new', 'claude')
       on conflict (business_id) do update set
         gemini_api_key = 'literal',
         grok_api_key = coalesce(excluded.grok_api_key, business_secrets.grok_api_key),
         youtube_api_key = excluded.claude_api_key`,
        [id],
      )
      assert.deepEqual(await clear(db, id), {
        gemini_api_key: 'literal',
        grok_api_key: 'two',
        youtube_api_key: 'claude',
      })
    },
  )

  await claim('do update that computes with a secret of excluded is refused, not stored wrong', async () => {
    const id = await existing({ gemini_api_key: 'one' })
    const token = 'excluded.gemini_api_key'
    for (const computed of [
      `'prefix-' || ${token}`,
      `left(${token}, 20)`,
      `right(${token}, 10)`,
      `upper(${token})`,
      `initcap(${token})`,
      `replace(${token}, '-', '')`,
      `translate(${token}, '-', '_')`,
    ]) {
      const compute = db.query(
        `insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'two')
         on conflict (business_id) do update set gemini_api_key = ${computed}`,
        [id],
      )
      await assert.rejects(compute, { code: 'AS002' }, computed)
      assert.deepEqual(await clear(db, id), { gemini_api_key: 'one' })
    }
    // What leaves a value as it is may be called.
    for (const [i, same] of [`trim(${token})`, `${token} || ''`, `substr(${token}, 1, 200)`].entries()) {
      await db.query(
        `insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)
         on conflict (business_id) do update set gemini_api_key = ${same}`,
        [id, `same ${i}`],
      )
      assert.deepEqual(await clear(db, id), { gemini_api_key: `same ${i}` }, same)
    }
  })

  await claim('an upsert of many rows may mix new ones and existing ones', async () => {
    const ids = []
    for (let i = 0; i < 12; i++)
      ids.push(i % 2 ? await existing({ gemini_api_key: `old ${i}` }) : await addBusiness(db))
    await db.query(
      `insert into public.business_secrets (business_id, gemini_api_key, google_refresh_token)
       select id, 'new ' || i, 'refresh ' || i from unnest($1::uuid[]) with ordinality as b(id, i)
       on conflict (business_id) do update set
         gemini_api_key = excluded.gemini_api_key, google_refresh_token = excluded.google_refresh_token`,
      [ids],
    )
    for (const [i, id] of ids.entries()) {
      assert.deepEqual(await clear(db, id), {
        gemini_api_key: `new ${i + 1}`,
        google_refresh_token: `refresh ${i + 1}`,
      })
      assert.deepEqual(await versions(db, id), { gemini_api_key: i % 2 ? 2 : 1, google_refresh_token: 1 })
    }
  })

  await claim('the same business twice in one upsert is refused and leaves nothing', async () => {
    const id = await addBusiness(db)
    const twice = db.query(
      `insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'one'), ($1, 'two')
       on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
      [id],
    )
    await assert.rejects(twice, { code: '21000' })
    assert.equal(await stored(db, id), null)
  })

  await claim('a duplicate insert fails, and a transaction that catches it goes on', async () => {
    const id = await existing({ gemini_api_key: 'one' })
    await db.query('begin; savepoint here')
    await assert.rejects(insertSecrets(db, id, { gemini_api_key: 'two', grok_api_key: 'three' }), {
      code: '23505',
    })
    await db.query('rollback to savepoint here')
    await updateSecrets(db, id, { claude_api_key: 'four' })
    await db.query('commit')
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'one', claude_api_key: 'four' })
  })

  await claim('a savepoint takes an upsert back with all it made', async () => {
    const [id, fresh] = [await existing({ gemini_api_key: 'one' }), await addBusiness(db)]
    const before = [await stored(db, id), await history(db, id)]
    await db.query('begin; savepoint here')
    await db.query(upsert, [id, 'two', 'three'])
    await db.query(upsert, [fresh, 'two', 'three'])
    await db.query('rollback to savepoint here; commit')
    assert.deepEqual([await stored(db, id), await history(db, id)], before)
    assert.equal(await stored(db, fresh), null)
  })

  await claim('MERGE inserts, updates and deletes in one statement', async () => {
    const [changed, gone, added] = [
      await existing({ gemini_api_key: 'old', grok_api_key: 'stays' }),
      await existing({ gemini_api_key: 'old' }),
      await addBusiness(db),
    ]
    await db.query(
      `merge into public.business_secrets s
       using (values ($1::uuid, 'new'), ($2, null), ($3, 'first')) as v(id, value) on s.business_id = v.id
       when matched and v.value is null then delete
       when matched then update set gemini_api_key = v.value
       when not matched then insert (business_id, gemini_api_key) values (v.id, v.value)`,
      [changed, gone, added],
    )
    assert.deepEqual(await clear(db, changed), { gemini_api_key: 'new', grok_api_key: 'stays' })
    assert.equal(await stored(db, gone), null)
    assert.deepEqual(await clear(db, added), { gemini_api_key: 'first' })
  })

  await claim('several upserts of one row in one transaction leave the last value', async () => {
    const id = await addBusiness(db)
    await db.query('begin')
    for (const value of ['one', 'two', 'three']) await db.query(upsert, [id, value, value])
    await db.query('commit')
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'three', grok_api_key: 'three' })
    assert.deepEqual(await versions(db, id), { gemini_api_key: 3, grok_api_key: 3 })
  })

  await claim('an upsert inside a data-modifying WITH is sealed like any other', async () => {
    const [id, fresh] = [await existing({ gemini_api_key: 'one' }), await addBusiness(db)]
    await db.query(
      `with first as (
         insert into public.business_secrets (business_id, gemini_api_key) values ($1, 'two')
         on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key returning business_id)
       insert into public.business_secrets (business_id, gemini_api_key)
       select $2::uuid, 'three' from first
       on conflict (business_id) do update set gemini_api_key = excluded.gemini_api_key`,
      [id, fresh],
    )
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'two' })
    assert.deepEqual(await clear(db, fresh), { gemini_api_key: 'three' })
  })

  await claim(
    'clients that upsert the same new business at once all succeed, and one value is left',
    async () => {
      const clients = await Promise.all(Array.from({ length: 12 }, () => db.connect()))
      for (let round = 0; round < 5; round++) {
        const id = await addBusiness(db)
        await Promise.all(clients.map((client, i) => client.query(upsert, [id, `from ${i}`, `from ${i}`])))
        const { gemini_api_key, grok_api_key } = await clear(db, id)
        assert.equal(gemini_api_key, grok_api_key)
        assert.deepEqual(await versions(db, id), {
          gemini_api_key: clients.length,
          grok_api_key: clients.length,
        })
      }
      await Promise.all(clients.map((client) => db.disconnect(client)))
    },
  )

  await claim('clients that race with do nothing leave one row, and plain inserts one winner', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => db.connect()))
    const insert = 'insert into public.business_secrets (business_id, gemini_api_key) values ($1, $2)'
    const race = async (sql) => {
      const id = await addBusiness(db)
      return [id, await Promise.allSettled(clients.map((client, i) => client.query(sql, [id, `from ${i}`])))]
    }
    const [quiet, ignored] = await race(`${insert} on conflict do nothing`)
    assert.equal(ignored.filter(({ value }) => value?.rowCount === 1).length, 1)
    const [loud, raised] = await race(insert)
    assert.equal(raised.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const { reason } of raised.filter(({ status }) => status === 'rejected'))
      assert.equal(reason.code, '23505')
    for (const id of [quiet, loud]) assert.deepEqual(await versions(db, id), { gemini_api_key: 1 })
    await Promise.all(clients.map((client) => db.disconnect(client)))
  })

  await claim('under repeatable read the loser of a race is refused and leaves nothing', async () => {
    const id = await addBusiness(db)
    const [winner, loser] = [await db.connect(), await db.connect()]
    for (const client of [winner, loser]) {
      await client.query('begin isolation level repeatable read')
      await client.query('select from public.businesses')
    }
    await winner.query(upsert, [id, 'winner', null])
    await winner.query('commit')
    const lost = await loser.query(upsert, [id, 'loser', null]).catch((error) => error)
    assert.match(lost.code, /^(40001|23505)$/)
    await loser.query('rollback')
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'winner' })
    for (const client of [winner, loser]) await db.disconnect(client)
  })

  await claim('an upsert that waits for a delete of the same row seals its value', async () => {
    const id = await existing({ gemini_api_key: 'one' })
    const [deleter, writer] = [await db.connect(), await db.connect()]
    await deleter.query('begin')
    await deleter.query('delete from public.business_secrets where business_id = $1', [id])
    const waiting = writer.query(upsert, [id, 'two', null])
    await deleter.query('commit')
    await waiting
    assert.deepEqual(await clear(db, id), { gemini_api_key: 'two' })
    for (const client of [deleter, writer]) await db.disconnect(client)
  })
})

onEachMajor('upserts without the sync', async (t, major) => {
  const db = await freshDatabase(t, major, { migratedTo: 5 })

  await t.test(
    'clients that insert, upsert and delete the same businesses at once neither fail nor leave anything',
    async () => {
      const ids = []
      for (let i = 0; i < 3; i++) ids.push(await addBusiness(db))
      const clients = await Promise.all(Array.from({ length: 12 }, () => db.connect()))
      await Promise.all(
        clients.map(async (client, c) => {
          for (let i = 0; i < 40; i++) {
            const id = ids[(c + i) % ids.length]
            if ((c * 7 + i) % 5 === 0) {
              await client.query('delete from public.business_secrets where business_id = $1', [id])
            } else {
              await client.query(upsert, [id, `${c}.${i}`, i % 3 ? `${c}.${i}` : null])
            }
          }
        }),
      )
      await assertIntact(db)
    },
  )
})
