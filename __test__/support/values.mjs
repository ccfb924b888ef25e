// Values that a store of secrets has to give back as they are, and those that break stores.

const WHITE =
  '\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff'

const fragments = [
  ...[
    '',
    ' ',
    '\t',
    '\n',
    '\r\n',
    '\u0001',
    '\u0007',
    '\u001b[31m',
    '\u007f',
    '\u0085',
    '\u200b',
    '\u2060',
    '\u180e',
  ],
  ...[
    "'",
    '"',
    '`',
    '\\',
    '\\\\',
    "\\'",
    "''",
    '$$',
    '$1',
    '$tag$',
    '%s',
    '%',
    '_',
    ';--',
    '/*',
    '*/',
    '{',
    '}',
    ',',
  ],
  ...[
    'null',
    'NULL',
    '\\N',
    '\\.',
    'undefined',
    'true',
    '0',
    '-1',
    '1e400',
    'NaN',
    '[object Object]',
    '\\x00',
    '\\u0000',
  ],
  ...['{"a":[1,null,"x"]}', '[]', '{}', '{NULL,"a"}', 'a=b&c=d', '<xml/>', 'Bearer abc.def-ghi_jkl'],
  ...[
    'c56a4180-65aa-42ec-a945-5fd21dec0538',
    '{c56a4180-65aa-42ec-a945-5fd21dec0538}',
    'C56A4180-65AA-42EC-A945-5FD21DEC0538',
  ],
  ...[
    'sk_live_51HyA',
    'AIzaSyD',
    '-----BEGIN PRIVATE KEY-----',
    'AAECAwQFBgcICQ==',
    '\ufffd',
    '\ufffe',
    '\uffff',
  ],
  ...[
    'é',
    'e\u0301',
    'ﬁ',
    'Å',
    'A\u030a',
    'ß',
    'İ',
    'ı',
    'Σς',
    'שלום',
    'مرحبا',
    '\u202eabc\u202c',
    '한글',
    '각',
    '日本語',
  ],
  ...['😀', '👩\u200d👩\u200d👧', '🇩🇪', '𝒳', '𐍈', '\u{10ffff}', '\u{1f600}\ufe0f'],
]

/** One value, or null for none. */
export function anyValue(random) {
  const kind = random.below(20)
  if (kind === 0) return null
  if (kind === 1) return random.pick(['', ' ', WHITE, random.pick([...WHITE])])
  let value = ''
  for (let left = 1 + random.below(6); left > 0; left--) {
    value += random.chance(0.6) ? random.pick(fragments) : anyCharacters(random, 1 + random.below(20))
  }
  if (kind === 2) value = random.pick([...WHITE]) + value + random.pick([...WHITE])
  if (kind === 3) value = value.repeat(1 + random.below(40))
  return value
}

function anyCharacters(random, count) {
  const points = Array.from({ length: count }, () => {
    if (random.chance(0.5)) return 0x20 + random.below(0x5f)
    const point = 1 + random.below(0x10ffff)
    return point >= 0xd800 && point <= 0xdfff ? 0x1f511 : point
  })
  return String.fromCodePoint(...points)
}

/** What is stored of a value. */
export function normalised(value) {
  return value?.trim() || null
}

/** Every code point of the basic plane that text can hold. */
export function basicPlane() {
  const all = []
  for (let point = 1; point <= 0xffff; point++) {
    if (point < 0xd800 || point > 0xdfff) all.push(String.fromCharCode(point))
  }
  return all
}
