// The default catalogue as 002 lists it, which is the only list there is.

import { readFileSync } from 'node:fs'

const text = readFileSync(new URL('../migrations/002_expand_business_secrets.sql', import.meta.url), 'utf8')
const [, list] = text.match(
  /-- app-secrets: default catalogue\n(.*?)-- app-secrets: end of default catalogue/s,
)

/** Each entry in its order: `{ name, label, sealed, type, legacyColumn }`. */
export const defaultCatalogue = [
  ...list.matchAll(/\(\d+, '(\w+)', '([^']+)', (true|false), '(\w+)', (?:'(\w+)'|null)\)/g),
].map(([, name, label, sealed, type, legacyColumn]) => ({
  name,
  label,
  sealed: sealed === 'true',
  type,
  legacyColumn: legacyColumn ?? null,
}))
