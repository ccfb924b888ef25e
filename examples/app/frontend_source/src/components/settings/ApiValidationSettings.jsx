import { useCallback, useEffect, useState } from 'react'
import { api } from '../../lib/api.js'
import { Conflict, changeSecret, fetchStatus } from '../../lib/businessSecrets.js'
import SecretRow from './SecretRow.jsx'

/**
 * Every integration of a business: its masked key, when it changed, who reads it, and whether its provider takes it.
 * `saves` counts what was saved elsewhere on the page; `onChange` is called after what is saved here.
 */
export default function ApiValidationSettings({ businessId, saves, onChange }) {
  const [rows, setRows] = useState(null)
  const [readers, setReaders] = useState([])
  const [notice, setNotice] = useState(null)
  const [checking, setChecking] = useState(false)

  const fetchKeys = useCallback(async () => {
    try {
      setRows(await fetchStatus(businessId))
    } catch (error) {
      setNotice({ good: false, text: error.message })
    }
  }, [businessId])

  // biome-ignore lint/correctness/useExhaustiveDependencies: what was saved elsewhere is read again
  useEffect(() => {
    fetchKeys()
  }, [fetchKeys, saves])

  useEffect(() => {
    // Who reads what is good to know, and its absence is no reason to show nothing.
    api('GET', '/system/integrations', businessId).then(
      (answer) => setReaders(answer.readers),
      () => {},
    )
  }, [businessId])

  /** Saves, removes or undoes one key, where it is still what the page shows. Gives whether it did. */
  async function handleFieldSave(row, change, done) {
    try {
      await changeSecret(businessId, row, change)
      setNotice({ good: true, text: `${row.label}: ${done}` })
      await fetchKeys()
      await onChange?.()
      return true
    } catch (error) {
      setNotice({ good: false, text: error.message })
      if (error instanceof Conflict) await fetchKeys()
      return false
    }
  }

  async function validateAll() {
    setChecking(true)
    setNotice(null)
    try {
      const { results } = await api('POST', '/system/validate-integrations', businessId, {})
      setNotice({ good: true, text: summary(Object.values(results)) })
      await fetchKeys()
    } catch (error) {
      setNotice({ good: false, text: error.message })
    }
    setChecking(false)
  }

  // What Google hands out is nothing that an owner types.
  const shown = rows?.filter(({ name, sealed }) => sealed && !name.startsWith('google_'))
  const none = shown?.every(({ is_set: isSet }) => !isSet)
  return (
    <section aria-labelledby="all-integrations">
      <div className="section-head">
        <h2 id="all-integrations">All keys</h2>
        <button type="button" onClick={validateAll} disabled={checking || !shown || none}>
          {checking ? 'Checking…' : 'Check all'}
        </button>
      </div>
      <div aria-live="polite">
        {notice && <p className={`notice ${notice.good ? 'good' : 'bad'}`}>{notice.text}</p>}
      </div>
      {shown === undefined && !notice && <p className="faint">Loading…</p>}
      {none && <p className="faint">No key is set yet. Add the first one below.</p>}
      {shown && (
        <ul className="secrets">
          {shown.map((row) => (
            <SecretRow
              key={row.name}
              row={row}
              readers={readers.filter(({ reads }) => reads.includes(row.name)).map(({ label }) => label)}
              onSave={handleFieldSave}
            />
          ))}
        </ul>
      )}
    </section>
  )
}

function summary(results) {
  const count = (result) => results.filter((one) => one === result).length
  const parts = [
    [count('works'), 'accepted'],
    [count('refused'), 'refused'],
    [count('not_checked'), 'not reachable'],
  ]
  const said = parts.filter(([number]) => number).map(([number, word]) => `${number} ${word}`)
  return `Checked: ${said.join(', ') || 'no key is set'}`
}
