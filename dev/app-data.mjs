// The businesses and owners of `npm run app`: plaintext keys in the old columns, as the app had them before it moved.

import { randomBytes } from 'node:crypto'
import { goodKey } from './app-providers.mjs'

const ending = () => randomBytes(6).toString('hex')

/** Two people to sign in as, and a third whose keys neither may ever see. Passwords and keys are made up at each start. */
export function demoPeople() {
  const password = () => randomBytes(6).toString('base64url')
  const kling = goodKey('kling', ending())
  return [
    {
      id: '5c0f0000-0000-4000-8000-000000000001',
      email: 'ana@teahouse.example',
      password: password(),
      businesses: [
        {
          id: '5b000000-0000-4000-8000-000000000001',
          name: 'Corner Teahouse',
          keys: {
            gemini_api_key: goodKey('gemini', ending()),
            // From an account that was closed.
            grok_api_key: `grok-closed-${ending()}`,
            claude_api_key: goodKey('claude', ending()),
            youtube_api_key: goodKey('youtube', ending()),
            kling_access_key: kling.accessKey,
            kling_secret_key: kling.secretKey,
            global_sms_api_key: goodKey('sms', ending()),
          },
        },
        {
          id: '5b000000-0000-4000-8000-000000000002',
          name: 'Harbour Books',
          keys: {
            gemini_api_key: goodKey('gemini', ending()),
            whatsapp_api_key: goodKey('whatsapp', ending()),
          },
        },
      ],
    },
    {
      id: '5c0f0000-0000-4000-8000-000000000002',
      email: 'ben@bicycles.example',
      password: password(),
      businesses: [{ id: '5b000000-0000-4000-8000-000000000003', name: 'Ben’s Bicycles', keys: {} }],
    },
    {
      id: '5c0f0000-0000-4000-8000-000000000003',
      email: 'cleo@nordlicht.example',
      password: password(),
      businesses: [
        {
          id: '5b000000-0000-4000-8000-000000000004',
          name: 'Nordlicht Design',
          keys: { gemini_api_key: goodKey('gemini', ending()), grok_api_key: goodKey('grok', ending()) },
        },
      ],
    },
  ]
}

/** Puts them where old code has them. `client` is a superuser's: `auth.users` is the platform's own table. */
export async function insertPeople(client, people) {
  for (const { id, email, businesses } of people) {
    await client.query('insert into auth.users (id, email) values ($1, $2)', [id, email])
    for (const business of businesses) {
      const names = Object.keys(business.keys)
      const columns = ['id', 'owner_id', 'name', ...names].join(', ')
      const places = ['$1', '$2', '$3', ...names.map((_, i) => `$${i + 4}`)].join(', ')
      const values = [business.id, id, business.name, ...Object.values(business.keys)]
      await client.query(`insert into public.businesses (${columns}) values (${places})`, values)
    }
  }
}
