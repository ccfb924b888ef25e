// The order of the demo.

import { accessIsRefused } from './access.mjs'
import { consumersReadAndWrite } from './consumers.mjs'
import { dropAfterProof } from './contract.mjs'
import { scrubAndScan } from './leaks.mjs'
import { legacyPlaintext } from './legacy.mjs'
import { migrate } from './migrate.mjs'
import { bothSides, upsertFromTheBrowser } from './writes.mjs'

export const steps = [
  legacyPlaintext,
  migrate,
  consumersReadAndWrite,
  accessIsRefused,
  upsertFromTheBrowser,
  bothSides,
  dropAfterProof,
  scrubAndScan,
]
