import { useEffect, useRef, useState } from 'react'
import Time from '../../lib/Time.jsx'

const states = {
  works: { mark: '✓', text: 'Works' },
  refused: { mark: '✕', text: 'Refused' },
  not_checked: { mark: '?', text: 'Not checked' },
  not_set: { mark: '–', text: 'Not set' },
}

/** One key. `onSave(row, change, done)` gives whether it was carried out. */
export default function SecretRow({ row, readers, onSave }) {
  const [mode, setMode] = useState('idle')
  const [busy, setBusy] = useState(false)
  const opened = useRef(null)
  const replace = useRef(null)
  const { name, label, is_set: isSet, last4 } = row
  const state = isSet ? (row.check_result ?? 'not_checked') : 'not_set'
  const field = `new-${name}`

  useEffect(() => {
    if (mode !== 'idle') opened.current?.focus()
  }, [mode])

  /** Closes the editor, and leaves the keyboard where it was before. */
  function close() {
    setMode('idle')
    replace.current?.focus()
  }

  async function save(change, done) {
    setBusy(true)
    const isDone = await onSave(row, change, done)
    setBusy(false)
    // What was opened meanwhile stays open.
    if (isDone && mode !== 'idle') close()
  }

  function submit(event) {
    event.preventDefault()
    // The field is React's to show and not to hold: what is typed goes from here to the database, and nowhere else.
    return save({ value: new FormData(event.currentTarget).get(name) }, isSet ? 'replaced' : 'saved')
  }

  return (
    <li className="secret" data-secret={name}>
      <div className="secret-name">
        <h3>{label}</h3>
        <p className="faint">{readers.length ? `Read by ${readers.join(' and ')}` : name}</p>
      </div>
      <p className="mask">
        {isSet && (
          <>
            <span className="visually-hidden">Set{last4 ? `, ends in ${last4}` : ''}</span>
            <span aria-hidden="true">•••• {last4 ?? '••••'}</span>
          </>
        )}
      </p>
      <p className={`state ${state}`}>
        <span className="mark" aria-hidden="true">
          {states[state].mark}
        </span>
        {states[state].text}
      </p>
      {(isSet || row.updated_at) && (
        <dl className="times">
          {[
            ['Changed', row.updated_at],
            ['Last read', row.last_read_at],
            ['Checked', row.last_checked_at],
          ].map(([what, at]) => (
            <div key={what}>
              <dt>{what}</dt>
              <dd>
                <Time at={at} />
              </dd>
            </div>
          ))}
        </dl>
      )}
      <div className="secret-actions">
        <button
          type="button"
          ref={replace}
          aria-expanded={mode === 'edit'}
          aria-label={`${isSet ? 'Replace' : 'Add'} ${label}`}
          onClick={() => setMode(mode === 'edit' ? 'idle' : 'edit')}
        >
          {isSet ? 'Replace' : 'Add'}
        </button>
        {isSet && (
          <button
            type="button"
            className="quiet"
            aria-label={`Remove ${label}`}
            onClick={() => setMode('remove')}
          >
            Remove
          </button>
        )}
        {row.can_undo && (
          <button
            type="button"
            className="quiet"
            aria-label={`Undo the last change of ${label}`}
            disabled={busy}
            onClick={() => save({ undo: true }, 'the previous key is back')}
          >
            Undo
          </button>
        )}
      </div>
      {mode === 'edit' && (
        <form className="editor" onSubmit={submit} autoComplete="off">
          <label htmlFor={field}>New key for {label}</label>
          <div className="inline">
            <input
              ref={opened}
              id={field}
              name={name}
              type="password"
              autoComplete="off"
              spellCheck="false"
              required
              onKeyDown={(event) => event.key === 'Escape' && close()}
            />
            <button type="submit" className="primary" disabled={busy}>
              {busy ? 'Saving…' : 'Save'}
            </button>
            <button type="button" className="quiet" onClick={close}>
              Cancel
            </button>
          </div>
        </form>
      )}
      {mode === 'remove' && (
        // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes what its own button has opened
        <div className="editor" onKeyDown={(event) => event.key === 'Escape' && close()}>
          <p>
            Remove the key? {readers.length ? `${readers.join(' and ')} will stop working.` : ''} It can be
            undone for some days.
          </p>
          <div className="inline">
            <button
              type="button"
              className="danger"
              ref={opened}
              disabled={busy}
              onClick={() => save({ is_set: false }, 'removed')}
            >
              {busy ? 'Removing…' : 'Remove'}
            </button>
            <button type="button" className="quiet" onClick={close}>
              Keep
            </button>
          </div>
        </div>
      )}
    </li>
  )
}
