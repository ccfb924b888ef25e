import { useCallback, useEffect, useState } from 'react'
import { api } from '../../lib/api.js'
import Time from '../../lib/Time.jsx'

/** How far the move out of plaintext is, and what was done with the secrets of this business. No value is in either. */
export default function Activity({ businessId }) {
  const migration = useAnswer('/system/migration', businessId)
  const audit = useAnswer('/system/audit', businessId)
  return (
    <>
      <h1>Activity</h1>
      <p className="lead">
        Where the move to encrypted keys stands, and who changed or read the keys of this business.
      </p>
      <div className="stack">
        <section aria-labelledby="migration">
          <div className="section-head">
            <h2 id="migration">Migration</h2>
          </div>
          <Answer {...migration}>{(data) => <Migration {...data} />}</Answer>
        </section>
        <section aria-labelledby="changes">
          <div className="section-head">
            <h2 id="changes">Changes</h2>
          </div>
          <Answer {...audit}>{({ changes }) => <Changes changes={changes} />}</Answer>
        </section>
        <section aria-labelledby="reads">
          <div className="section-head">
            <h2 id="reads">Reads</h2>
          </div>
          <Answer {...audit}>{({ reads }) => <Reads reads={reads} />}</Answer>
        </section>
      </div>
    </>
  )
}

function useAnswer(path, businessId) {
  const [state, setState] = useState({})
  const load = useCallback(() => {
    setState({})
    return api('GET', path, businessId).then(
      (data) => setState({ data }),
      (error) => setState({ error }),
    )
  }, [path, businessId])
  useEffect(() => {
    load()
  }, [load])
  return { ...state, load }
}

function Answer({ data, error, load, children }) {
  if (data) return children(data)
  if (!error) return <p className="faint">Loading…</p>
  if (error.code === 'NOT_HERE') return <p className="faint">This server does not show it.</p>
  return (
    <div className="notice bad" role="alert">
      <p>{error.message}</p>
      <button type="button" onClick={load}>
        Try again
      </button>
    </div>
  )
}

const steps = {
  2: 'Expand: sealed columns beside the old ones, kept equal',
  3: 'Migrate: every key copied and encrypted, each one proved',
  4: 'Protect: policies, logins with a scope, audit',
  5: 'Contract: the plaintext columns are dropped',
}

function Migration({ files, businesses, plaintextColumns, mismatches, next }) {
  const share = businesses.total ? businesses.done / businesses.total : 1
  return (
    <div className="card">
      <div
        className="progress"
        role="progressbar"
        aria-label="Businesses whose keys are encrypted"
        aria-valuemin={0}
        aria-valuemax={businesses.total}
        aria-valuenow={businesses.done}
      >
        <div style={{ width: `${share * 100}%` }} />
      </div>
      <dl className="figures">
        <div>
          <dt>Businesses</dt>
          <dd>
            {businesses.done} of {businesses.total}
          </dd>
        </div>
        <div>
          <dt>Mismatches</dt>
          <dd>{mismatches ?? 'not verified yet'}</dd>
        </div>
        <div>
          <dt>Plaintext columns left</dt>
          <dd>{plaintextColumns.length}</dd>
        </div>
      </dl>
      <ol className="steps">
        {files.map(({ version, state, appliedAt }) => (
          <li key={version}>
            <span className={appliedAt ? 'good-text' : 'faint'} aria-hidden="true">
              {appliedAt ? '✓' : '○'}
            </span>
            <span>
              {steps[version] ?? `Step ${version}`}
              <span className="visually-hidden">: {state}</span>
            </span>
            <span className="when">
              <Time at={appliedAt} never="not yet" />
            </span>
          </li>
        ))}
      </ol>
      {next && (
        <p className="faint">
          Next: <code>app-secrets {next}</code>
        </p>
      )}
    </div>
  )
}

function Changes({ changes }) {
  if (changes.length === 0) return <p className="faint">Nothing has been changed yet.</p>
  return (
    <Table head={['When', 'What', 'Key', 'By']}>
      {changes.map(({ id, at, action, name, actor, login, jwtSub, origin }) => (
        <tr key={id}>
          <td>
            <Time at={at} />
          </td>
          <td>{origin === 'backfill' ? 'moved from plaintext' : action}</td>
          <td>{name}</td>
          <td>{jwtSub ? 'an owner, on a page' : (actor ?? login)}</td>
        </tr>
      ))}
    </Table>
  )
}

function Reads({ reads }) {
  if (reads.length === 0) return <p className="faint">No service has read a key yet.</p>
  return (
    <Table head={['Last read', 'Service', 'Key', 'Minutes of that day']}>
      {reads.map(({ day, login, name, lastReadAt, minutes }) => (
        <tr key={`${day} ${login} ${name}`}>
          <td>
            <Time at={lastReadAt} />
          </td>
          <td>{login}</td>
          <td>{name}</td>
          <td>{minutes}</td>
        </tr>
      ))}
    </Table>
  )
}

/** Wider than a telephone, so it can be scrolled by itself, with the keyboard too. */
function Table({ head, children }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable
    <div className="table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
