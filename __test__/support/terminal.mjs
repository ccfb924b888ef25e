// The command line on a terminal of its own, which `script` of the system makes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { bin } from './cli.mjs'

/** Says the process's id, runs the command, and says how it ended and how it left the terminal. */
const line = `trap : INT
sh -c 'echo "pid=$$;"; exec "$0" "$@" REDIRECTION' "$@"
echo "code=$?;"
stty -a`

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`

/**
 * Starts the command. `screen` is all that was shown; `redirection` is the shell's: `2>/dev/null`.
 */
export function onTerminal(t, args, env, redirection = '') {
  const words = ['sh', '-c', line.replace('REDIRECTION', redirection), 'sh', process.execPath, bin, ...args]
  const script =
    process.platform === 'linux'
      ? ['-qec', words.map(quoted).join(' '), '/dev/null']
      : ['-q', '/dev/null', ...words]
  const child = spawn('script', script, { env })
  const terminal = {
    screen: '',
    /** Waits until the text is shown. */
    async shows(text) {
      for (const until = Date.now() + 20_000; !terminal.screen.includes(text); await delay(20)) {
        if (Date.now() > until) throw new Error(`never shown: ${text}\n${terminal.screen}`)
      }
      // The question comes first, and then the terminal is set.
      await delay(200)
    },
    type: (text) => child.stdin.write(text),
    kill: (signal) => process.kill(Number(/pid=(\d+);/.exec(terminal.screen)[1]), signal),
    async ended() {
      const late = new Error('still there')
      const closed = once(child, 'close')
      if ((await Promise.race([closed, delay(10_000, late, { ref: false })])) === late) {
        child.kill('SIGKILL')
        throw new Error(`it does not end\n${terminal.screen}`)
      }
      return {
        code: Number(/code=(\d+);/.exec(terminal.screen)?.[1]),
        echoes: /[\s;]echo[\s;]/.test(terminal.screen),
      }
    },
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      terminal.screen += text
    })
  }
  child.stdin.on('error', () => {})
  t.after(() => child.kill('SIGKILL'))
  return terminal
}
