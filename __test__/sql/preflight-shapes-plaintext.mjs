// Shapes of the plaintext columns, and of who may access: what is refused, and what works.

const b = 'public.businesses'
const key = `${b}.gemini_api_key`
const retype = (type, using = 'null') =>
  `alter table ${b} alter gemini_api_key type ${type} using ${using}::${type}`
const filled = (value) => `update ${b} set gemini_api_key = coalesce(gemini_api_key, ${value})`

export const plaintextKinds = [
  {
    kind: 'types of plaintext columns',
    refused: [
      ...['jsonb', 'json', 'bytea', 'text[]', 'numeric', 'uuid', 'xml', 'char(24)', 'name', 'integer'].map(
        (type) => ({
          what: type,
          sql: retype(type),
          code: 'legacy_type',
          object: key,
          fixes: !['bytea', 'text[]'].includes(type),
        }),
      ),
      {
        what: 'an enum',
        sql: `create type public.provider_key as enum ('a', 'b'); ${retype('public.provider_key')}`,
        code: 'legacy_type',
        object: key,
      },
      {
        what: 'a domain over jsonb',
        sql: `create domain public.account as jsonb; ${retype('public.account')}`,
        code: 'legacy_type',
        object: key,
      },
    ],
    works: [
      { what: 'varchar', sql: retype('varchar', 'gemini_api_key') },
      { what: 'varchar(512)', sql: retype('varchar(512)', 'gemini_api_key') },
      { what: 'citext', sql: retype('extensions.citext', 'gemini_api_key'), root: false },
      {
        what: 'a domain over a domain over varchar',
        sql: `create domain public.credential as varchar(1000) check (value ~ '^[^<>]*$'); create domain public.api_key as public.credential; ${retype('public.api_key', 'gemini_api_key')}`,
      },
    ],
  },
  {
    kind: 'lengths of plaintext columns and values',
    refused: [
      {
        what: 'varchar(20)',
        sql: retype('varchar(20)', 'gemini_api_key'),
        code: 'legacy_length',
        object: key,
      },
      {
        what: 'varchar(64)',
        sql: retype('varchar(64)', 'gemini_api_key'),
        code: 'legacy_length',
        object: key,
      },
      {
        what: 'a domain over varchar(100)',
        sql: `create domain public.api_key as varchar(100); ${retype('public.api_key', 'gemini_api_key')}`,
        code: 'legacy_length',
        object: key,
      },
      {
        what: 'a value of 65,537 bytes',
        sql: `update ${b} set gemini_api_key = repeat('k', 65537) where name = 'Business 7'`,
        code: 'legacy_too_long',
        object: key,
        found: /^1 values? /,
        fixes: false,
      },
      {
        what: 'values whose characters are few and bytes many',
        sql: `update ${b} set grok_api_key = repeat('鍵', 22000) where name in ('Business 7', 'Business 8')`,
        code: 'legacy_too_long',
        object: `${b}.grok_api_key`,
        found: /^2 values /,
        fixes: false,
      },
    ],
    works: [
      { what: 'varchar(255)', sql: retype('varchar(255)', 'gemini_api_key') },
      {
        what: 'a value of 65,536 bytes',
        sql: `update ${b} set gemini_api_key = repeat('k', 65536) where name = 'Business 7'`,
      },
      {
        what: 'a value that is longer by its white space only',
        sql: `update ${b} set gemini_api_key = repeat('k', 65500) || repeat(E'\\u3000\\t', 500) where name = 'Business 7'`,
      },
    ],
  },
  {
    kind: 'NOT NULL and defaults of plaintext columns',
    refused: [
      {
        what: 'NOT NULL without a default',
        sql: `${filled("'none'")}; alter table ${b} alter gemini_api_key set not null`,
        code: 'legacy_not_null',
        object: key,
      },
      {
        what: 'NOT NULL with a default that is a value',
        sql: `${filled("'none'")}; alter table ${b} alter gemini_api_key set not null, alter gemini_api_key set default 'none'`,
        code: 'legacy_not_null',
        object: key,
      },
      {
        what: 'NOT NULL with a default that is computed',
        sql: `${filled("'none'")}; alter table ${b} alter gemini_api_key set not null, alter gemini_api_key set default 'key-' || gen_random_uuid()`,
        code: 'legacy_not_null',
        object: key,
      },
      {
        what: 'generated from another column',
        sql: `alter table ${b} drop column gemini_api_key, add gemini_api_key text generated always as (lower(name)) stored`,
        code: 'legacy_generated',
        object: key,
      },
      {
        what: 'generated whenever it is read',
        only: 18,
        sql: `alter table ${b} drop column gemini_api_key, add gemini_api_key text generated always as (lower(name)) virtual`,
        code: 'legacy_generated',
        object: key,
      },
    ],
    works: [
      {
        what: "NOT NULL DEFAULT ''",
        sql: `${filled("''")}; alter table ${b} alter gemini_api_key set not null, alter gemini_api_key set default ''`,
      },
      {
        what: 'NOT NULL with a default of blanks',
        sql: `${filled("''")}; alter table ${b} alter gemini_api_key set not null, alter gemini_api_key set default E' \\t\\n'`,
      },
      {
        what: "varchar NOT NULL DEFAULT ''",
        sql: `${filled("''")}; alter table ${b} alter gemini_api_key type varchar(300), alter gemini_api_key set not null, alter gemini_api_key set default ''`,
      },
      {
        what: "a domain over text, NOT NULL DEFAULT '' in the table",
        sql: `${filled("''")}; create domain public.api_key as text check (length(value) < 9000); alter table ${b} alter gemini_api_key type public.api_key, alter gemini_api_key set default '', alter gemini_api_key set not null`,
      },
    ],
  },
  {
    kind: 'domains and CHECKs of plaintext columns',
    refused: [
      {
        what: 'a domain that is NOT NULL',
        sql: `${filled("''")}; create domain public.api_key as text not null; alter table ${b} alter gemini_api_key type public.api_key`,
        code: 'legacy_domain',
        object: key,
      },
      {
        what: 'a domain whose CHECK refuses NULL',
        sql: `${filled("''")}; create domain public.api_key as text check (value is not null); alter table ${b} alter gemini_api_key type public.api_key`,
        code: 'legacy_domain',
        object: key,
      },
      {
        what: 'a CHECK that refuses NULL',
        sql: `${filled("'none'")}; alter table ${b} add constraint has_key check (coalesce(gemini_api_key, '') <> '')`,
        code: 'legacy_check',
        object: key,
        found: /has_key/,
      },
      {
        what: 'a CHECK for NOT NULL',
        sql: `${filled("'none'")}; alter table ${b} add check (gemini_api_key is not null)`,
        code: 'legacy_check',
        object: key,
      },
      {
        what: 'a CHECK that wants one of two keys',
        sql: `${filled("'none'")}; alter table ${b} add constraint a_key check (gemini_api_key is not null or grok_api_key is not null)`,
        code: 'legacy_check',
        object: `${key}, ${b}.grok_api_key`,
        found: /a_key/,
      },
      {
        what: "a CHECK that refuses the default ''",
        sql: `${filled("'none'")}; alter table ${b} alter gemini_api_key set not null, alter gemini_api_key set default '', add constraint long_key check (length(gemini_api_key) > 3)`,
        code: 'legacy_check',
        object: key,
        found: /long_key/,
      },
    ],
    works: [
      {
        what: 'a domain with a CHECK that lets NULL pass',
        sql: `create domain public.api_key as text check (length(value) < 70000); alter table ${b} alter gemini_api_key type public.api_key`,
      },
      {
        what: 'a CHECK that lets NULL pass',
        sql: `alter table ${b} add check (gemini_api_key <> 'changeme')`,
      },
      {
        what: 'a CHECK for both keys or neither',
        sql: `alter table ${b} add constraint paired check ((kling_access_key is null) = (kling_secret_key is null))`,
        says: {
          severity: 'warn',
          code: 'legacy_check',
          object: `${b}.kling_access_key, ${b}.kling_secret_key`,
        },
        pairs: true,
      },
    ],
  },
  {
    kind: 'keys and collations of plaintext columns',
    refused: [
      {
        what: 'part of the primary key',
        sql: `drop table public.business_secrets; ${filled("'none'")}; alter table ${b} drop constraint businesses_pkey, add unique (id), add primary key (id, gemini_api_key)`,
        code: 'legacy_in_key',
        object: key,
        fixes: false,
      },
      {
        what: 'a foreign key',
        sql: `create table public.keys (key text primary key); insert into public.keys select distinct gemini_api_key from ${b} where gemini_api_key is not null;
          alter table ${b} add constraint known_key foreign key (gemini_api_key) references public.keys`,
        code: 'legacy_in_foreign_key',
        object: key,
        found: /known_key/,
      },
      {
        what: 'the target of a foreign key',
        sql: `alter table ${b} add unique (gemini_api_key); create table public.calls (key text constraint by_key references ${b} (gemini_api_key))`,
        code: 'legacy_in_foreign_key',
        object: key,
        found: /by_key/,
      },
      {
        what: 'beside the primary key in its index',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, add primary key (id) include (gemini_api_key)`,
        code: 'legacy_in_key',
        object: key,
        fixes: false,
      },
      {
        what: 'the replica identity',
        sql: `update ${b} set gemini_api_key = id; alter table ${b} alter gemini_api_key set default '', alter gemini_api_key set not null;
          create unique index known_by on ${b} (id, gemini_api_key); alter table ${b} replica identity using index known_by`,
        code: 'legacy_in_key',
        object: key,
        found: /known_by/,
      },
      {
        what: 'unique and NOT NULL',
        sql: `update ${b} set gemini_api_key = id; alter table ${b} alter gemini_api_key set default '', alter gemini_api_key set not null, add constraint once unique (gemini_api_key)`,
        code: 'legacy_unique_not_null',
        object: key,
        found: /once/,
      },
      ...[
        ['a nondeterministic collation', 'text collate public.nocase'],
        ['the same on varchar', 'varchar(300) collate public.nocase'],
        ['the same in a domain', 'public.nocase_key'],
      ].map(([what, type]) => ({
        what,
        sql: `create collation public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
          create domain public.nocase_key as text collate public.nocase; alter table ${b} alter gemini_api_key type ${type}`,
        code: 'legacy_collation',
        object: key,
      })),
    ],
    works: [
      {
        what: 'the collation C',
        sql: `alter table ${b} alter gemini_api_key type text collate "C"`,
      },
      {
        what: 'an ICU collation that is deterministic',
        sql: `create collation public.german (provider = icu, locale = 'de'); alter table ${b} alter gemini_api_key type text collate public.german`,
      },
      {
        what: 'unique',
        sql: `alter table ${b} add constraint one_key_once unique (gemini_api_key)`,
        says: { severity: 'note', code: 'legacy_unique', object: key },
      },
    ],
  },
  {
    kind: 'who may access',
    refused: [
      {
        what: 'no such column',
        sql: `drop policy "Owners manage their businesses" on ${b}; alter table ${b} drop column owner_id`,
        code: 'access_column_missing',
        object: `${b}.owner_id`,
      },
      {
        what: 'a column of another type',
        sql: `drop policy "Owners manage their businesses" on ${b}; alter table ${b} drop constraint businesses_owner_id_fkey, alter owner_id type text`,
        code: 'access_column_type',
        object: `${b}.owner_id`,
      },
      {
        what: 'no such function',
        wanted: (w) => {
          w.access = { function: 'public.my_ids()' }
        },
        code: 'access_function',
        object: 'public.my_ids',
        fixes: false,
      },
      {
        what: 'a function that returns something else',
        sql: `create function public.my_ids() returns uuid language sql stable return null::uuid`,
        wanted: (w) => {
          w.access = { function: 'public.my_ids' }
        },
        code: 'access_function',
        object: 'public.my_ids',
        fixes: false,
      },
      {
        what: 'a function that finds with our rights what row level security hides from a user',
        sql: `create function public.my_ids() returns setof uuid language sql stable as 'select id from ${b}'`,
        wanted: (w) => {
          w.access = { function: 'public.my_ids()' }
        },
        code: 'access_function',
        object: 'public.my_ids',
        found: /rights of its caller/,
        fixes: false,
      },
      {
        what: 'neither a column nor a function',
        wanted: (w) => {
          w.access = { table: 'members' }
        },
        code: 'access_shape',
        object: 'app_secrets.wanted',
        fixes: false,
      },
    ],
    works: [
      {
        what: 'nobody who is signed in',
        sql: `drop policy "Owners manage their businesses" on ${b}; alter table ${b} drop column owner_id`,
        wanted: (w) => {
          w.access = null
        },
      },
      {
        what: 'another column',
        sql: `alter table ${b} rename owner_id to "createdBy"`,
        wanted: (w) => {
          w.access = { column: 'createdBy' }
        },
      },
      {
        what: "a function of the app's",
        sql: `create table public.members (user_id uuid, business_id uuid);
          create function public.my_ids() returns setof uuid language sql stable security definer set search_path = '' as 'select m.business_id from public.members m where m.user_id = auth.uid()'`,
        wanted: (w) => {
          w.access = { function: 'public.my_ids()' }
        },
      },
    ],
  },
]
