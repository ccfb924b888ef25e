import { useEffect, useState } from 'react'
import { integrations, loadMasked, save } from '../lib/businessSecrets.js'

/** One row per integration: its masked key, and a field that replaces it. What is typed is forgotten once it is saved. */
export default function Settings({ supabase, businessId }) {
  const [masked, setMasked] = useState(null)
  const [draft, setDraft] = useState({})
  const [message, setMessage] = useState(null)

  const reload = () => loadMasked(supabase, businessId).then(setMasked, (error) => setMessage(error.message))

  useEffect(() => {
    reload()
  }, [businessId])

  async function write(values) {
    try {
      await save(supabase, businessId, values)
      setDraft({})
      setMessage('Saved')
      await reload()
    } catch (error) {
      setMessage(error.message)
    }
  }

  if (!masked) return <p>{message ?? 'Loading…'}</p>
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        return write(draft)
      }}
    >
      <h1>Integrations</h1>
      {integrations.map(({ name, label }) => (
        <label key={name}>
          {label}
          <output>{masked[name] ?? 'not set'}</output>
          <input
            name={name}
            type="password"
            autoComplete="off"
            placeholder="New key"
            value={draft[name] ?? ''}
            onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
          />
          <button
            type="button"
            name={`remove ${name}`}
            disabled={!masked[name]}
            onClick={() => write({ [name]: null })}
          >
            Remove
          </button>
        </label>
      ))}
      <button type="submit" disabled={Object.keys(draft).length === 0}>
        Save
      </button>
      {message && <p role="status">{message}</p>}
    </form>
  )
}
