// The same package from CommonJS.

import secrets = require('@app/secrets')

import { connect, type SecretName } from '@app/secrets'

const name: SecretName = 'grok_api_key'
export const value: Promise<string | null> = secrets.get('…', name)
export const client: Promise<secrets.Secrets> = connect()
export const cleared: Promise<number> = secrets.delete('…', name)
// @ts-expect-error there is no such secret
export const wrong = secrets.get('…', 'grok')
