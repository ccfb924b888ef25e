// Points in time and lengths of it, as the database reads and adds them: `app_secrets.parse_timestamp()`, and PostgreSQL's
// `timestamptz + interval`. For the transports that have to do it themselves.

const ISO =
  /^\+?(\d{4,6})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(?:[Zz]|([+-])(\d{2})(?::?(\d{2}))?)?$/
const RFC_2822 =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) (\d{2}):(\d{2}):(\d{2}) (?:GMT|UTC)$/
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

const DAY_MS = 86_400_000
const EARLIEST = Date.parse('0001-01-01T00:00:00Z')
/** The last that a Date can hold, where the database ends too. */
const LATEST = 8.64e15

/** A text as the database reads it: in UTC, to the microsecond. Null where it takes the text for no point in time. */
function timestamp(text) {
  const found = partsOf(text)
  if (found === null) return null
  const [year, month, day, hour, minute, second, fraction, offsetMinutes] = found
  const midnight = midnightOf(year, month, day)
  const time = ((hour * 60 + minute) * 60 + second) * 1000
  const micros = half(Number(`0.${fraction}`) * 1e6)
  // A day may end with 24:00:00 or 23:59:60, and not later.
  if (midnight === null || minute > 59 || second > 60 || time + micros / 1000 > DAY_MS) return null
  // The fraction is kept apart: together they have more digits than a number.
  const ms = midnight + time + (micros === 1e6 ? 1000 : 0) - offsetMinutes * 60_000
  const rest = micros % 1e6
  if (ms < EARLIEST || ms > LATEST || (ms === LATEST && rest > 0)) return null
  return `${dateTime(ms)}.${String(rest).padStart(6, '0')}Z`
}

/** `[year, month, day, hour, minute, second, fraction, offset in minutes]`, or null. */
function partsOf(text) {
  const iso = ISO.exec(text)
  if (iso !== null) {
    const [, year, month, day, hour, minute, second = 0, fraction = '0', sign, hours = 0, minutes = 0] = iso
    // The farthest zone that PostgreSQL knows is short of 16 hours away.
    if (hours > 15 || minutes > 59) return null
    const offset = (sign === '-' ? -1 : 1) * (hours * 60 + Number(minutes))
    return [...[year, month, day, hour, minute, second].map(Number), fraction, offset]
  }
  const mail = RFC_2822.exec(text)
  if (mail === null) return null
  const [, day, month, year, ...time] = mail
  return [Number(year), MONTHS.indexOf(month) + 1, Number(day), ...time.map(Number), '0', 0]
}

/** Milliseconds of a day's beginning; null where the calendar has no such day. */
function midnightOf(year, month, day) {
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  return year > 0 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? date.getTime() : null
}

/** The nearest whole number; of two that are as near, the even one. */
function half(number) {
  const down = Math.floor(number)
  return number - down === 0.5 ? down + (down % 2) : Math.round(number)
}

/** `2031-01-31T12:00:00`, also of years that have more than four digits. */
function dateTime(ms) {
  return new Date(ms).toISOString().slice(0, -5).replace(/^\+0*/, '')
}

const UNITS = /([+-]?\d+) (year|mon|week|day)\w*/g
const CLOCK = /([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)/

/**
 * Milliseconds of a time that is an interval later: `1 year 6 mons 3 days 12:00:00` as PostgreSQL writes it, or `6 months` as
 * `rotateEvery` has it. NaN where it is neither. By the calendar, in UTC: months first, whose last day is the latest there is.
 */
function later(ms, interval) {
  const count = { year: 0, mon: 0, week: 0, day: 0 }
  for (const [, number, unit] of interval.matchAll(UNITS)) count[unit] += Number(number)
  const [clock, sign, hours, minutes, seconds] = CLOCK.exec(interval) ?? []
  if (clock === undefined && Object.values(count).every((number) => number === 0)) return Number.NaN
  const at = new Date(ms)
  const day = at.getUTCDate()
  at.setUTCMonth(at.getUTCMonth() + count.year * 12 + count.mon)
  // The 31st of a month that has 30 days is the 1st of the next one: back to the last of that month.
  if (at.getUTCDate() !== day) at.setUTCDate(0)
  const time = clock === undefined ? 0 : (hours * 3600 + minutes * 60 + Number(seconds)) * 1000
  return at.getTime() + (count.week * 7 + count.day) * DAY_MS + (sign === '-' ? -time : time)
}

module.exports = { later, timestamp }
