// Three tenants and their businesses, with values that are recognised wherever they turn up.

export const users = {
  owner: 'aaaaaaaa-0000-4000-8000-000000000001',
  other: 'aaaaaaaa-0000-4000-8000-000000000002',
  former: 'aaaaaaaa-0000-4000-8000-000000000003',
  nobody: 'aaaaaaaa-0000-4000-8000-000000000009',
}

/** A and C belong to `owner` (C was `former`'s when its secrets were written), B to `other`; D has no secrets yet. */
export const businesses = {
  A: 'bbbbbbbb-0000-4000-8000-00000000000a',
  B: 'bbbbbbbb-0000-4000-8000-00000000000b',
  C: 'bbbbbbbb-0000-4000-8000-00000000000c',
  D: 'bbbbbbbb-0000-4000-8000-00000000000d',
}

const owners = { A: 'owner', B: 'other', C: 'former', D: 'owner' }

/** Fills a migrated database as its migration role. Gives what recognises the values in a text. */
export async function seed(client) {
  for (const id of Object.values(users)) {
    await client.query('insert into auth.users (id, email) values ($1, $2)', [id, `${id}@example.com`])
  }
  for (const [letter, id] of Object.entries(businesses)) {
    await client.query('insert into public.businesses (id, owner_id, name) values ($1, $2, $3)', [
      id,
      users[owners[letter]],
      `Business ${letter}`,
    ])
    if (letter === 'D') continue
    await client.query(
      `insert into public.business_secrets (business_id, gemini_api_key, google_refresh_token, google_drive_folder_id)
      values ($1, $2, $3, $4)`,
      [id, `plain-${letter}-gemini`, `plain-${letter}-google`, `folder-${letter}`],
    )
  }
  await client.query('update public.businesses set owner_id = $2 where id = $1', [businesses.C, users.owner])
  return recognizer(client)
}

/** A function from a text to the businesses whose values are in it: `A` for plaintext, `a` for a reference or metadata. */
export async function recognizer(client) {
  const { rows } = await client.query(
    'select business_id, gemini_api_key, google_refresh_token from public.business_secrets order by business_id',
  )
  const marks = Object.entries(businesses).map(([letter, id]) => {
    const row = rows.find((one) => one.business_id === id)
    return {
      letter,
      references: row ? [row.gemini_api_key, row.google_refresh_token] : [],
    }
  })
  const recognize = (text) =>
    marks
      .map(({ letter, references }) => {
        if (text.includes(`plain-${letter}-`)) return letter
        const known = [`folder-${letter}`, ...references]
        return known.some((mark) => text.includes(mark)) ? letter.toLowerCase() : ''
      })
      .join('')
  recognize.references = Object.fromEntries(marks.map(({ letter, references }) => [letter, references]))
  return recognize
}
