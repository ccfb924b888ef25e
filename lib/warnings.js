// What a caller's function throws where nobody is there to catch it. Rethrown it would end the process, so it becomes a warning.

/** `what` names the function that failed, and what becomes of it. */
function warn(what, code, thrown) {
  const options = { type: 'SecretsWatchWarning', code, detail: text(thrown, 'stack') }
  process.emitWarning(`${what}: ${text(thrown, 'message')}`, options)
}

/** The callback of `call` failed, at once or by the promise that it returned. */
function callbackFailed(call, thrown) {
  warn(`the callback of ${call} failed, and goes on being called`, 'WATCH_CALLBACK_FAILED', thrown)
}

/** A property of what was thrown, which may be anything, and throw by itself. */
function text(thrown, property) {
  try {
    if (typeof thrown === 'string') return property === 'message' ? thrown : ''
    const found = thrown[property]
    return typeof found === 'string' ? found : ''
  } catch {
    return ''
  }
}

module.exports = { callbackFailed, warn }
