// Shapes of the columns of secrets in an existing business_secrets, its foreign keys, values and policies.

const s = 'public.business_secrets'
const id = `${s}.business_id`
const token = `${s}.google_access_token`
const noForeignKey = `alter table ${s} drop constraint business_secrets_business_id_fkey`
const tie = (more) =>
  `${noForeignKey}, add constraint tie foreign key (business_id) references public.businesses (id) ${more}`
const retype = (column, type, using = 'null') =>
  `alter table ${s} alter ${column} type ${type} using ${using}::${type}`
const stray = `insert into ${s} (business_id, google_access_token) values ('20000000-0000-4000-8000-000000000001', 'of somebody gone')`

export const columnKinds = [
  {
    kind: 'columns of secrets: types and lengths',
    refused: [
      ...['varchar(32)', 'jsonb', 'bytea', 'char(200)', 'extensions.citext', 'text[]', 'uuid'].map(
        (type) => ({
          what: `a token as ${type}`,
          sql: retype('google_access_token', type),
          code: type === 'varchar(32)' ? 'column_length' : 'column_type',
          object: token,
          fixes: !['bytea', 'text[]'].includes(type),
        }),
      ),
      {
        what: 'a token as a domain',
        sql: `create domain public.token as text check (value <> ''); ${retype('google_access_token', 'public.token')}`,
        code: 'column_type',
        object: token,
      },
      ...['bigint', 'text', 'timestamp', 'date', 'timestamptz(3)'].map((type) => ({
        what: `an expiry as ${type}`,
        sql: retype('google_token_expiry', type),
        code: 'column_type',
        object: `${s}.google_token_expiry`,
      })),
      {
        what: 'an updated_at of another type',
        sql: `alter table ${s} add updated_at bigint`,
        code: 'column_type',
        object: `${s}.updated_at`,
      },
      {
        what: 'a column that is shorter than its plaintext twin',
        sql: `alter table ${s} add gemini_api_key varchar(300)`,
        code: 'column_length',
        object: `${s}.gemini_api_key`,
      },
    ],
    works: [
      { what: 'varchar', sql: retype('google_access_token', 'varchar', 'google_access_token') },
      { what: 'varchar(2048)', sql: retype('google_access_token', 'varchar(2048)', 'google_access_token') },
      {
        what: 'a folder of varchar(100)',
        sql: retype('google_drive_folder_id', 'varchar(100)', 'google_drive_folder_id'),
      },
      { what: 'an updated_at', sql: `alter table ${s} add updated_at timestamptz not null default now()` },
      { what: 'an empty column under the name of a key', sql: `alter table ${s} add gemini_api_key text` },
    ],
  },
  {
    kind: 'columns of secrets: NOT NULL, defaults, generated, collations',
    refused: [
      {
        what: 'NOT NULL',
        sql: `update ${s} set google_access_token = coalesce(google_access_token, 'x'); alter table ${s} alter google_access_token set not null`,
        code: 'column_not_null',
        object: token,
      },
      {
        what: 'a default',
        sql: `alter table ${s} alter google_access_token set default 'none'`,
        code: 'column_default',
        object: token,
      },
      {
        what: 'a blank default of the folder',
        sql: `alter table ${s} alter google_drive_folder_id set default ''`,
        code: 'column_default',
        object: `${s}.google_drive_folder_id`,
      },
      {
        what: 'generated',
        sql: `alter table ${s} drop google_drive_folder_id, add google_drive_folder_id text generated always as (left(google_access_token, 3)) stored`,
        code: 'column_generated',
        object: `${s}.google_drive_folder_id`,
      },
      {
        what: 'an updated_at that nothing fills',
        sql: `alter table ${s} add updated_at timestamptz; update ${s} set updated_at = now(); alter table ${s} alter updated_at set not null`,
        code: 'updated_at_default',
        object: `${s}.updated_at`,
      },
      {
        what: 'a nondeterministic collation',
        sql: `create collation public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); alter table ${s} alter google_access_token type text collate public.nocase`,
        code: 'column_collation',
        object: token,
      },
    ],
    works: [
      { what: 'the default NULL', sql: `alter table ${s} alter google_access_token set default null` },
      { what: 'the collation C', sql: `alter table ${s} alter google_access_token type text collate "C"` },
      { what: 'an updated_at without a default', sql: `alter table ${s} add updated_at timestamptz` },
    ],
  },
  {
    kind: 'columns of secrets: constraints',
    refused: [
      {
        what: 'a CHECK of a token',
        sql: `update ${s} set google_access_token = 'ya29.' || google_access_token; alter table ${s} add constraint shape check (google_access_token like 'ya29.%')`,
        code: 'column_check',
        object: token,
        found: /shape/,
      },
      {
        what: 'a CHECK under a name like ours',
        sql: `alter table ${s} add constraint google_access_token_is_reference check (length(google_access_token) > 3)`,
        code: 'column_check',
        object: token,
      },
      {
        what: 'a CHECK of two tokens',
        sql: `alter table ${s} add constraint either check (google_access_token is not null or google_refresh_token is not null or google_drive_folder_id is not null)`,
        code: 'column_check',
        found: /either/,
      },
      {
        what: 'a folder that must not be NULL',
        sql: `update ${s} set google_drive_folder_id = 'x'; alter table ${s} add constraint has_folder check (google_drive_folder_id is not null)`,
        code: 'row_check',
        object: s,
        found: /has_folder/,
      },
      {
        what: 'unique folders',
        sql: `update ${s} set google_drive_folder_id = business_id; alter table ${s} add constraint one_folder_once unique (google_drive_folder_id)`,
        code: 'column_unique',
        object: s,
        found: /one_folder_once/,
      },
      {
        what: 'a unique index of an expression over a token',
        sql: `create unique index one_token_once on ${s} (md5(google_access_token))`,
        code: 'column_unique',
        object: s,
        found: /one_token_once/,
      },
      {
        what: 'unique with business_id',
        sql: `alter table ${s} add constraint pair unique (business_id, google_drive_folder_id)`,
        code: 'column_unique',
        object: s,
        found: /pair/,
      },
      {
        what: 'a foreign key of a token',
        sql: `create table public.tokens (token text primary key); update ${s} set google_access_token = null; alter table ${s} add constraint known foreign key (google_access_token) references public.tokens`,
        code: 'column_foreign_key',
        object: token,
        found: /known/,
      },
    ],
    works: [
      {
        what: 'a CHECK of the folder that NULL passes',
        sql: `alter table ${s} add check (length(google_drive_folder_id) < 100)`,
      },
      { what: 'an index', sql: `create index on ${s} (google_drive_folder_id)` },
      {
        what: 'statistics',
        sql: `create statistics public.of_tokens on google_access_token, google_refresh_token from ${s}`,
      },
    ],
  },
  {
    kind: 'foreign keys and rows without a business',
    refused: [
      { what: 'none', sql: noForeignKey, code: 'foreign_key_missing', object: id },
      { what: 'without on delete', sql: tie(''), code: 'foreign_key', object: id, found: /tie/ },
      { what: 'on delete restrict', sql: tie('on delete restrict'), code: 'foreign_key', object: id },
      {
        what: 'deferrable',
        sql: tie('on delete cascade deferrable initially deferred'),
        code: 'foreign_key',
        object: id,
      },
      {
        what: 'not valid',
        sql: tie('on delete cascade not valid'),
        code: 'foreign_key_not_valid',
        object: id,
      },
      {
        what: 'not valid, with a row that has no business',
        sql: `${noForeignKey}; ${stray}; alter table ${s} add foreign key (business_id) references public.businesses (id) on delete cascade not valid`,
        code: 'rows_without_business',
        object: s,
        found: /^1 row/,
      },
      {
        what: 'none, and two rows that have no business',
        sql: `${noForeignKey}; ${stray}, ('20000000-0000-4000-8000-000000000002', null)`,
        code: 'rows_without_business',
        object: s,
        found: /^2 rows/,
      },
      {
        what: 'to another table',
        sql: `create table public.tenants (id uuid primary key); insert into public.tenants select id from public.businesses;
          alter table ${s} add constraint of_tenant foreign key (business_id) references public.tenants`,
        code: 'foreign_key_other',
        object: id,
        found: /of_tenant/,
      },
    ],
    works: [
      { what: 'another name', sql: tie('on delete cascade') },
      {
        what: 'on update cascade',
        sql: tie('on update cascade on delete cascade'),
        says: { severity: 'warn', code: 'foreign_key_update', object: id },
      },
      {
        what: 'referenced by others',
        sql: `create table public.syncs (business_id uuid references ${s} on delete cascade)`,
      },
    ],
  },
  {
    kind: 'values in business_secrets',
    refused: [
      ...['infinity', '-infinity', '10000-01-01', '0001-01-01 BC'].map((date) => ({
        what: `the expiry ${date}`,
        sql: `update ${s} set google_token_expiry = '${date}' where business_id in (select business_id from ${s} limit 1)`,
        code: 'expiry_out_of_range',
        object: `${s}.google_token_expiry`,
        found: /^1 value/,
      })),
      {
        what: 'a key that differs from its plaintext',
        sql: `alter table ${s} add gemini_api_key text; update ${s} set gemini_api_key = 'another'`,
        code: 'two_values',
        object: `${s}.gemini_api_key`,
        found: /^10 values/,
      },
      {
        what: 'a folder of 65,537 bytes',
        sql: `update ${s} set google_drive_folder_id = repeat('f', 65537)`,
        code: 'value_too_long',
        object: `${s}.google_drive_folder_id`,
        fixes: false,
      },
      {
        what: 'a token of 65,537 bytes',
        sql: `update ${s} set google_access_token = repeat('f', 65537)`,
        code: 'value_too_long',
        object: token,
        fixes: false,
      },
    ],
    works: [
      {
        what: 'the first and the last expiry',
        sql: `update ${s} set google_token_expiry = case when business_id::text < '10000000-0000-4000-8000-000000000010' then '0001-01-01 00:00:00+00' else '9999-12-31 23:59:59.999999+00' end::timestamptz`,
      },
      {
        what: 'keys that stand in both tables',
        sql: `alter table ${s} add gemini_api_key text; update ${s} s set gemini_api_key = ' ' || b.gemini_api_key from public.businesses b where b.id = s.business_id`,
      },
      {
        what: 'blank tokens',
        sql: `update ${s} set google_access_token = E' \\t', google_refresh_token = ''`,
      },
      {
        what: 'a folder of 65,536 bytes and blank ones',
        sql: `update ${s} set google_drive_folder_id = case when business_id::text < '10000000-0000-4000-8000-000000000010' then repeat('f', 65536) else '  ' end`,
      },
    ],
  },
  {
    kind: 'policies on business_secrets',
    refused: [],
    works: [
      {
        what: 'a restrictive one, which stays',
        sql: `alter table ${s} enable row level security; create policy "Second factor" on ${s} as restrictive to authenticated using ((select auth.jwt() ->> 'aal') = 'aal2')`,
        says: { severity: 'note', code: 'policy_kept', object: `policy "Second factor" on ${s}` },
      },
      {
        what: 'a permissive one, which goes',
        sql: `alter table ${s} enable row level security; create policy everybody on ${s} for select using (true)`,
        says: {
          severity: 'warn',
          code: 'policy_dropped',
          object: `policy everybody on ${s}`,
          found: /for select to public using \(true\)/,
        },
      },
      {
        what: 'one under a name like ours',
        sql: `create policy business_secrets_owner on ${s} for insert to authenticated with check (business_id is not null)`,
        says: { severity: 'warn', code: 'policy_dropped', object: `policy business_secrets_owner on ${s}` },
      },
    ],
  },
]
