const units = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const exact = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' })

/** "3 minutes ago", with the exact time for those who point at it. */
export default function Time({ at, never = 'never' }) {
  if (!at) return <span className="faint">{never}</span>
  const date = new Date(at)
  const seconds = (Date.now() - date.getTime()) / 1000
  const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) ?? []
  const text = unit ? words.format(-Math.round(seconds / length), unit) : 'just now'
  return (
    <time dateTime={date.toISOString()} title={exact.format(date)}>
      {text}
    </time>
  )
}
