#!/usr/bin/env node
// The command line. It is part of the addon; this starts it.

const { runCli } = require('..')

runCli(['app-secrets', ...process.argv.slice(2)]).then((code) => {
  process.exitCode = code
})
