#!/usr/bin/env node
// The command line. It is part of the addon; this starts it.

const { runCli } = require('../lib/native.js')

// It hears these itself, and ends what is running in good order. Without a listener Node would end the process.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})

runCli(['app-secrets', ...process.argv.slice(2)]).then((code) => process.exit(code))
