import { useCallback, useEffect, useState } from 'react'
import ApiValidationSettings from '../../components/settings/ApiValidationSettings.jsx'
import { fetchStatus, upsertSecrets } from '../../lib/businessSecrets.js'

/** The two models that most owners start with, then every integration there is. */
export default function OwnerSettings({ businessId }) {
  const [rows, setRows] = useState(null)
  const [error, setError] = useState(null)
  /** Counts what was saved here, so that the list below reads again. */
  const [saves, setSaves] = useState(0)

  const fetchData = useCallback(async () => {
    try {
      setRows(await fetchStatus(businessId))
      setError(null)
    } catch (failure) {
      setError(failure.message)
    }
  }, [businessId])

  useEffect(() => {
    fetchData()
  }, [fetchData])

  const handleSaveGemini = (key) => save({ gemini_api_key: key })
  const handleSaveGrok = (key) => save({ grok_api_key: key })

  async function save(values) {
    await upsertSecrets(businessId, values)
    await fetchData()
    setSaves((count) => count + 1)
  }

  if (error && !rows) {
    return (
      <div className="notice bad" role="alert">
        <p>{error}</p>
        <button type="button" onClick={fetchData}>
          Try again
        </button>
      </div>
    )
  }
  const find = (name) => rows?.find((row) => row.name === name)
  return (
    <>
      <h1>Integrations</h1>
      <p className="lead">
        Keys are encrypted as they arrive. Nobody can read one back here: a page shows the last four
        characters and no more.
      </p>
      <section className="models" aria-label="Language models">
        <ModelCard row={find('gemini_api_key')} title="Google Gemini" onSave={handleSaveGemini}>
          Maya and the advertisements answer with it.
        </ModelCard>
        <ModelCard row={find('grok_api_key')} title="xAI Grok" onSave={handleSaveGrok}>
          A second opinion for advertisements.
        </ModelCard>
      </section>
      <ApiValidationSettings businessId={businessId} saves={saves} onChange={fetchData} />
    </>
  )
}

function ModelCard({ row, title, children, onSave }) {
  const [busy, setBusy] = useState(false)
  const [message, setMessage] = useState(null)

  async function submit(event) {
    event.preventDefault()
    const form = event.currentTarget
    const key = new FormData(form).get('key')
    setBusy(true)
    try {
      await onSave(key)
      // What was typed is forgotten as soon as it is stored.
      form.reset()
      setMessage({ good: true, text: 'Saved' })
    } catch (error) {
      setMessage({ good: false, text: error.message })
    }
    setBusy(false)
  }

  return (
    <form className="card model" onSubmit={submit} autoComplete="off" aria-label={title}>
      <h2>{title}</h2>
      <p className="faint">{children}</p>
      <div className="inline">
        <input
          name="key"
          type="password"
          aria-label={`New key for ${title}`}
          autoComplete="off"
          spellCheck="false"
          required
          placeholder={row?.is_set ? `•••• ${row.last4 ?? '••••'}` : 'Not set'}
        />
        <button type="submit" disabled={busy}>
          {busy ? 'Saving…' : 'Save'}
        </button>
      </div>
      {message && (
        <p className={message.good ? 'good-text' : 'bad-text'} role={message.good ? 'status' : 'alert'}>
          {message.text}
        </p>
      )}
    </form>
  )
}
