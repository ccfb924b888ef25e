// Kinds of databases, and shapes of each: `refused`, under a code, an object and words of what was found; and `works`.
// `sql`: what makes the shape of the legacy app's database. `root`: made by the superuser. `after`: what the superuser does
// at the end, where a shape reaches beyond its database. `wanted`: what changes in the wanted catalogue. `fixes`: whether
// the statements that the findings give are enough, true unless told. `only`: the one major version that has such a thing.

import { columnKinds } from './preflight-shapes-columns.mjs'
import { ownerKinds } from './preflight-shapes-owner.mjs'
import { plaintextKinds } from './preflight-shapes-plaintext.mjs'
import { platformKinds } from './preflight-shapes-platform.mjs'
import { secretsKinds } from './preflight-shapes-secrets.mjs'
import { wantedKinds } from './preflight-shapes-wanted.mjs'

export const kinds = [
  ...ownerKinds,
  ...plaintextKinds,
  ...secretsKinds,
  ...columnKinds,
  ...platformKinds,
  ...wantedKinds,
]
