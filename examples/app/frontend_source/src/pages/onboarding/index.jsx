import { useState } from 'react'
import useOnboardingStore from './store/useOnboardingStore.ts'

/** The one key that a new business cannot do without. */
export default function Onboarding() {
  const { error, setGeminiApiKey, skip } = useOnboardingStore()
  const [busy, setBusy] = useState(false)

  async function submit(event) {
    event.preventDefault()
    const form = event.currentTarget
    setBusy(true)
    const key = new FormData(form).get('gemini_api_key')
    if (await setGeminiApiKey(key)) form.reset()
    else setBusy(false)
  }

  return (
    <form className="card onboarding" onSubmit={submit} autoComplete="off">
      <p className="step">One thing before you start</p>
      <h1>Connect Google Gemini</h1>
      <p className="lead">
        Maya answers with your own Gemini account. The key is encrypted as it arrives, and no page can show it
        again.
      </p>
      <label className="stacked">
        Gemini API key
        <input name="gemini_api_key" type="password" autoComplete="off" spellCheck="false" required />
      </label>
      {error && (
        <p className="bad-text" role="alert">
          {error}
        </p>
      )}
      <div className="actions">
        <button type="submit" className="primary" disabled={busy}>
          {busy ? 'Saving…' : 'Save and continue'}
        </button>
        <button type="button" className="quiet" onClick={skip}>
          Later
        </button>
      </div>
    </form>
  )
}
