// What a Data API has to know of the database to make SQL of a request: PostgREST calls it the schema cache.

const columnsQuery = `
  select c.relname as relation, a.attname as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as type,
         pg_catalog.pg_get_expr(d.adbin, d.adrelid) as default
  from pg_catalog.pg_class c
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum and a.attgenerated = ''
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
  order by 1, a.attnum`

/** What an upsert that names no columns goes by. */
const keysQuery = `
  select c.relname as relation, pg_catalog.array_agg(a.attname::text order by k.ord) as columns
  from pg_catalog.pg_index i
  join pg_catalog.pg_class c on c.oid = i.indrelid
  cross join pg_catalog.unnest(i.indkey::int2[]) with ordinality as k (attnum, ord)
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
  where i.indisprimary and c.relnamespace = 'public'::regnamespace
  group by 1`

const functionsQuery = `
  select p.proname as name, p.provolatile as volatility, p.proretset as set, p.pronargdefaults as defaults,
         p.prorettype = 'void'::regtype as void,
         p.prorettype = 'record'::regtype or t.typtype = 'c'
           or coalesce(p.proargmodes::text[] && '{t,b,o}', false) as composite,
         coalesce((select pg_catalog.array_agg(pg_catalog.format_type(u.type, null) order by u.ord)
                   from pg_catalog.unnest(p.proargtypes) with ordinality as u (type, ord)), '{}') as types,
         coalesce(p.proargnames, '{}') as names, coalesce(p.proargmodes::text[], '{}') as modes
  from pg_catalog.pg_proc p
  join pg_catalog.pg_type t on t.oid = p.prorettype
  where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'`

/**
 * Tables and views as `{ types, defaults }` by name, and functions as lists of their overloads. It is read at the first
 * request, and again when something is asked for that is not in it, as after a migration.
 */
export class SchemaCache {
  #pool
  #loading
  tables = Object.create(null)
  functions = Object.create(null)

  constructor(pool) {
    this.#pool = pool
  }

  /** Tries `find` on what is known, then on what the database has now. Gives undefined where neither has it. */
  async find(find) {
    if (!this.#loading) await this.reload()
    await this.#loading
    const found = find(this)
    if (found !== undefined) return found
    await this.reload()
    return find(this)
  }

  reload() {
    this.#loading = this.#load().catch((error) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  async #load() {
    const tables = Object.create(null)
    for (const { relation, name, type, default: expression } of (await this.#pool.query(columnsQuery)).rows) {
      tables[relation] ??= { types: Object.create(null), defaults: Object.create(null), key: undefined }
      tables[relation].types[name] = type
      if (expression !== null) tables[relation].defaults[name] = expression
    }
    for (const { relation, columns } of (await this.#pool.query(keysQuery)).rows) {
      tables[relation].key = columns
    }
    const functions = Object.create(null)
    for (const row of (await this.#pool.query(functionsQuery)).rows) {
      const inputs = row.names.filter((_, i) => !row.modes.length || ['i', 'b', 'v'].includes(row.modes[i]))
      if (inputs.length !== row.types.length) continue
      functions[row.name] ??= []
      functions[row.name].push({
        types: Object.fromEntries(inputs.map((name, i) => [name, row.types[i]])),
        required: inputs.slice(0, inputs.length - row.defaults),
        readOnly: row.volatility !== 'v',
        set: row.set,
        scalar: !row.composite,
        void: row.void,
      })
    }
    this.tables = tables
    this.functions = functions
  }
}
