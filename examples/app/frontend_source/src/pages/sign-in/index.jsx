import { useState } from 'react'
import { supabase } from '../../lib/supabase.js'

export default function SignIn() {
  const [message, setMessage] = useState(null)
  const [busy, setBusy] = useState(false)

  async function submit(event) {
    event.preventDefault()
    const { email, password } = Object.fromEntries(new FormData(event.currentTarget))
    setBusy(true)
    const { error } = await supabase.auth.signInWithPassword({ email, password })
    if (!error) return
    setBusy(false)
    setMessage(
      error.code === 'invalid_credentials'
        ? 'That e-mail and password do not go together.'
        : 'Signing in did not work. Please try again.',
    )
  }

  return (
    <main className="narrow">
      <form className="card" onSubmit={submit}>
        <h1>Sign in</h1>
        <label className="stacked">
          E-mail
          <input name="email" type="email" autoComplete="username" required />
        </label>
        <label className="stacked">
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        {message && (
          <p className="bad-text" role="alert">
            {message}
          </p>
        )}
        <button type="submit" className="primary" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
