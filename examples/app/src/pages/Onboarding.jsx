import { useEffect, useState } from 'react'
import { loadConfigured, save } from '../lib/businessSecrets.js'

/** The one key that a new business needs. Skips itself where it is there already. */
export default function Onboarding({ supabase, businessId, onDone }) {
  const [key, setKey] = useState('')
  const [message, setMessage] = useState(null)

  useEffect(() => {
    loadConfigured(supabase, businessId).then(
      (names) => names.includes('gemini_api_key') && onDone(),
      (error) => setMessage(error.message),
    )
  }, [businessId])

  async function submit(event) {
    event.preventDefault()
    try {
      await save(supabase, businessId, { gemini_api_key: key })
      setKey('')
      onDone()
    } catch (error) {
      setMessage(error.message)
    }
  }

  return (
    <form onSubmit={submit}>
      <h1>Connect Google Gemini</h1>
      <label>
        Gemini API key
        <input
          name="gemini_api_key"
          type="password"
          autoComplete="off"
          value={key}
          onChange={(event) => setKey(event.target.value)}
        />
      </label>
      <button type="submit" disabled={!key.trim()}>
        Continue
      </button>
      {message && <p role="alert">{message}</p>}
    </form>
  )
}
