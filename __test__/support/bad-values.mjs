// What no function may accept, by kind of argument, each under the name that a failing test shows.

export const marker = 'sk_live_marker_4711'

const throwing = new Proxy(
  {},
  {
    get() {
      throw new Error(marker)
    },
    ownKeys() {
      throw new Error(marker)
    },
    getOwnPropertyDescriptor() {
      throw new Error(marker)
    },
  },
)
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Values of every type that is neither a string, nor null or undefined. */
const noStrings = () => ({
  'a number': 4711,
  NaN,
  'a BigInt': 4711n,
  true: true,
  'a symbol': Symbol(marker),
  'a function': () => marker,
  'an object': { marker },
  'an array': [marker],
  'a Date': new Date(),
  'a Buffer': Buffer.from(marker),
  'a String object': new String(marker),
  'an object with toString': { toString: () => marker, valueOf: () => marker },
  'an object without a prototype': Object.create(null),
  'a Map': new Map([['name', marker]]),
  'a promise': Promise.resolve(marker),
  'a Proxy that throws': throwing,
  'a revoked Proxy': revoked(),
  globalThis,
})

export const businessIds = (id) => ({
  ...noStrings(),
  undefined,
  null: null,
  'an empty string': '',
  'a word': marker,
  'in braces': `{${id}}`,
  'in braces and short': `{${id.slice(2)}`,
  'with white space before': ` ${id}`,
  'with a newline after': `${id}\n`,
  'without hyphens': id.replaceAll('-', ''),
  'hyphens in other places': id.replace(/^(.{8})-(.)/, '$1$2-'),
  'as a URN': `urn:uuid:${id}`,
  'a letter too few': id.slice(1),
  'a letter too many': `${id}0`,
  'a letter that is no digit': `g${id.slice(1)}`,
  'full-width digits': id.replace(/\d/, '\uff11'),
  'a NUL in it': `${id.slice(0, 35)}\0`,
  'half a surrogate pair in it': `${id.slice(0, 35)}\ud800`,
  'SQL after it': `${id}' or '1'='1`,
  'very long': id.repeat(100_000),
})

/** Names that are no strings are the call's fault; strings that are no names are unknown. */
export const noNames = () => ({ ...noStrings(), undefined, null: null })
export const unknownNames = () => ({
  'an empty string': '',
  'another word': marker,
  'a column that is no secret': 'business_id',
  updated_at: 'updated_at',
  'upper case': 'GROK_API_KEY',
  'camel case': 'grokApiKey',
  'white space around it': ' grok_api_key ',
  'a NUL after it': 'grok_api_key\0',
  'half a surrogate pair': 'grok_api_key\udfff',
  __proto__name: '__proto__',
  constructor: 'constructor',
  quotes: `grok_api_key"; drop table businesses; --`,
  'several names in one': 'grok_api_key,claude_api_key',
  'very long': 'grok_api_key'.repeat(100_000),
})

export const secretValues = () => ({
  ...noStrings(),
  undefined,
  'a NUL inside': `${marker}\0${marker}`,
  'only a NUL': '\0',
  'half a surrogate pair at the end': `${marker}\ud83d`,
  'half a surrogate pair at the start': `\ude00${marker}`,
  'a pair the wrong way round': `${marker}\ude00\ud83d`,
  'a byte too long': marker.padEnd(65_537, 'x'),
  'a byte too long, in three-byte letters': `${'€'.repeat(21_845)}xx`,
  'a byte too long after trimming': ` ${'x'.repeat(65_537)} `,
  'a megabyte': marker.repeat(55_000),
})

export const nameLists = () => {
  const holes = ['grok_api_key']
  holes[3] = 'claude_api_key'
  const { 'an array': _, ...others } = noStrings()
  return {
    ...others,
    undefined,
    null: null,
    'a string': 'grok_api_key',
    'an array-like object': { 0: 'grok_api_key', length: 1 },
    'a Set': new Set(['grok_api_key']),
    'a Proxy of an array that throws': new Proxy(['grok_api_key'], {
      get() {
        throw new Error(marker)
      },
    }),
    'no names': [],
    'an array with holes': holes,
    'a hundred thousand names': new Array(100_000).fill('grok_api_key'),
    'an array of a length without elements': new Array(4_000_000_000),
    'an element that is null': ['grok_api_key', null],
    'an element that is an array': ['grok_api_key', ['claude_api_key']],
    'an element that is a symbol': [Symbol(marker)],
    'an element that throws when read': Object.defineProperty(['grok_api_key'], 1, {
      enumerable: true,
      get() {
        throw new Error(marker)
      },
    }),
  }
}

/** Objects of values that are the call's fault. */
export const valueObjects = () => {
  const { 'an object': _, ...others } = noStrings()
  delete others['an object with toString']
  delete others['a String object']
  delete others['a Buffer']
  delete others.globalThis
  return {
    ...others,
    undefined,
    null: null,
    'a string': marker,
    'no values': {},
    'only a symbol': { [Symbol('grok_api_key')]: marker },
    'only inherited values': Object.create({ grok_api_key: marker }),
    'only hidden values': Object.defineProperty({}, 'grok_api_key', { value: marker, enumerable: false }),
    'a getter that throws': {
      get grok_api_key() {
        throw new Error(marker)
      },
    },
    'a getter that throws no Error': {
      get grok_api_key() {
        throw null
      },
    },
  }
}

/** Objects with names that there are not. */
export const unknownValueObjects = () => ({
  'an unknown name': { grok_api_key: marker, [marker]: marker },
  'a key __proto__': JSON.parse(`{"__proto__": "${marker}", "grok_api_key": "${marker}"}`),
  'a key that is a number': { 1: marker },
  'a String object': new String(marker),
  'a Buffer': Buffer.from(marker),
  'ten thousand names': Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`name${i}`, marker])),
})

export const expectedVersions = () => {
  const { 'a number': _, ...others } = noStrings()
  return {
    ...others,
    'a string': '1',
    negative: -1,
    'a fraction': 1.5,
    infinite: Infinity,
    'beyond whole numbers': 2 ** 53,
    'minus half': -0.5,
  }
}

/** What options and other plain objects cannot be. */
export const noObjects = () => ({
  'a string': marker,
  'a number': 1,
  NaN,
  'a BigInt': 1n,
  true: true,
  'a symbol': Symbol(marker),
  'a function': () => marker,
  'an array': [marker],
  'an unknown property': { [marker]: 1 },
  'a key __proto__': JSON.parse('{"__proto__": 1}'),
  'a String object': new String(marker),
  'a Proxy that throws': throwing,
  'a revoked Proxy': revoked(),
})

export const dates = () => {
  const { 'a Date': _, ...others } = noStrings()
  return {
    ...others,
    'a word': 'tomorrow',
    'a date as people write it': '01/12/2026',
    'a time without an offset': '2031-01-31T12:00:00',
    'a day that there is not': '2031-02-30T12:00:00Z',
    'a year that no Date holds': '294276-01-01T00:00:00Z',
    'no time': '2031-01-31',
    'an invalid Date': new Date('never'),
    'a Date after the year 9999': new Date('+010000-01-01T00:00:00Z'),
    'a Date before the year 1': new Date('0000-12-31T23:59:59.999Z'),
    'the last Date there is': new Date(8.64e15),
    'an object with the prototype of Date': Object.create(Date.prototype),
    'a Proxy of a Date': new Proxy(new Date(), {}),
  }
}
