import { useEffect, useState } from 'react'
import { supabase } from './lib/supabase.js'
import Activity from './pages/activity/index.jsx'
import Onboarding from './pages/onboarding/index.jsx'
import useOnboardingStore from './pages/onboarding/store/useOnboardingStore.ts'
import OwnerSettings from './pages/owner-settings/index.jsx'
import SignIn from './pages/sign-in/index.jsx'

const pages = {
  '#/settings': { title: 'Integrations', Page: OwnerSettings },
  '#/activity': { title: 'Activity', Page: Activity },
}

export default function App() {
  const [session, setSession] = useState(undefined)
  const [hash, setHash] = useState(window.location.hash)
  const { status, businesses, businessId, error, initSession, choose, reset } = useOnboardingStore()

  useEffect(() => {
    const { data } = supabase.auth.onAuthStateChange((_event, current) => setSession(current))
    const follow = () => setHash(window.location.hash)
    window.addEventListener('hashchange', follow)
    return () => {
      data.subscription.unsubscribe()
      window.removeEventListener('hashchange', follow)
    }
  }, [])

  const userId = session?.user.id
  useEffect(() => {
    if (userId) initSession()
    else reset()
  }, [userId, initSession, reset])

  const current = pages[hash] ?? pages['#/settings']
  useEffect(() => {
    document.title = userId ? current.title : 'Sign in'
  }, [userId, current])

  if (session === undefined) return null
  if (!session) return <SignIn />
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <header className="bar">
        <div className="bar-inner">
          {businesses.length > 1 ? (
            <select
              aria-label="Business"
              value={businessId ?? ''}
              onChange={(event) => choose(event.target.value)}
            >
              {businesses.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          ) : (
            <strong className="brand">{businesses[0]?.name ?? 'Integrations'}</strong>
          )}
          <nav aria-label="Pages">
            {Object.entries(pages).map(([path, { title }]) => (
              <a key={path} href={path} aria-current={current.title === title ? 'page' : undefined}>
                {title}
              </a>
            ))}
          </nav>
          <div className="who">
            <span className="email">{session.user.email}</span>
            <button type="button" className="quiet" onClick={() => supabase.auth.signOut()}>
              Sign out
            </button>
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {status === 'loading' && <p className="faint">Loading…</p>}
        {status === 'failed' && (
          <div className="notice bad" role="alert">
            <p>{error}</p>
            <button type="button" onClick={initSession}>
              Try again
            </button>
          </div>
        )}
        {status === 'no_business' && (
          <section className="card empty">
            <h1>No business yet</h1>
            <p>Your account does not own a business. Ask whoever invited you to make you its owner.</p>
          </section>
        )}
        {status === 'needs_key' && <Onboarding />}
        {status === 'ready' && <current.Page key={businessId} businessId={businessId} />}
      </main>
    </>
  )
}
