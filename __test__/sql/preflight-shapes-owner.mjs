// Shapes of the owner table and its key: what is refused, under which code and object, and what works.

const b = 'public.businesses'
const partitioned = (by) => `
  alter table public.business_secrets drop constraint business_secrets_business_id_fkey;
  alter table ${b} rename to whole; alter index businesses_pkey rename to whole_pkey;
  create table ${b} (like public.whole including defaults, primary key (id)) partition by ${by};`

export const ownerKinds = [
  {
    kind: 'the owner table: relations',
    refused: [
      {
        what: 'none',
        sql: `drop table public.business_secrets, ${b}`,
        code: 'owner_missing',
        object: b,
        fixes: false,
      },
      {
        what: 'a view',
        sql: `alter table ${b} rename to shops; create view ${b} as select * from public.shops`,
        code: 'table_kind',
        object: b,
        fixes: false,
      },
      {
        what: 'partitioned by hash',
        sql: `${partitioned('hash (id)')}
          create table public.businesses_0 partition of ${b} for values with (modulus 2, remainder 0);
          create table public.businesses_1 partition of ${b} for values with (modulus 2, remainder 1);
          insert into ${b} select * from public.whole;`,
        code: 'table_kind',
        object: b,
        fixes: false,
      },
      {
        what: 'partitioned by range',
        sql: `${partitioned('range (id)')} create table public.businesses_all partition of ${b} default;`,
        code: 'table_kind',
        object: b,
        fixes: false,
      },
      {
        what: 'a materialized view',
        sql: `alter table ${b} rename to shops; create materialized view ${b} as select * from public.shops`,
        code: 'table_kind',
        object: b,
        fixes: false,
      },
      {
        what: 'unlogged',
        sql: `alter table public.business_secrets drop constraint business_secrets_business_id_fkey; alter table ${b} set unlogged`,
        code: 'table_persistence',
        object: b,
      },
      {
        what: 'that others inherit from',
        sql: `create table public.shops () inherits (${b})`,
        code: 'table_inheritance',
        object: b,
      },
      {
        what: 'that inherits',
        sql: `create table public.things (id uuid not null, name text); alter table ${b} inherit public.things`,
        code: 'table_inheritance',
        object: b,
      },
      {
        what: 'of a type',
        sql: `do $x$ begin execute (select 'create type public.business as (' || string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum) || ')'
            from pg_attribute where attrelid = '${b}'::regclass and attnum > 0); end $x$; alter table ${b} of public.business`,
        code: 'table_of_type',
        object: b,
      },
      {
        what: 'with a rule',
        sql: `create table public.gone (id uuid); create rule remember as on delete to ${b} do also insert into public.gone values (old.id)`,
        code: 'rule',
        object: `rule remember on ${b}`,
      },
    ],
    works: [
      {
        what: 'in another schema, under other names',
        sql: `create schema crm; alter table ${b} set schema crm; alter table crm.businesses rename to accounts;
          alter table crm.accounts rename id to account_id`,
        wanted: (w) => Object.assign(w, { owner_table: 'crm.accounts', owner_key: 'account_id' }),
      },
      {
        what: 'with capitals in its name',
        sql: `alter table ${b} rename to "Shops & Co"; alter table public."Shops & Co" rename id to "Id"`,
        wanted: (w) => Object.assign(w, { owner_table: 'public."Shops & Co"', owner_key: 'Id' }),
      },
      {
        what: 'with columns that were dropped',
        sql: `alter table ${b} drop column name, drop column settings, add name text`,
      },
      { what: 'without a business', sql: `delete from public.business_secrets; delete from ${b}` },
    ],
  },
  {
    kind: 'the key of the owner table',
    refused: [
      {
        what: 'bigint',
        sql: `drop table public.business_secrets; alter table ${b} drop column id, add id bigint generated always as identity primary key`,
        code: 'owner_key_type',
        object: `${b}.id`,
        fixes: false,
      },
      {
        what: 'text',
        sql: `drop table public.business_secrets; alter table ${b} alter id drop default, alter id type text`,
        code: 'owner_key_type',
        object: `${b}.id`,
        fixes: false,
      },
      {
        what: 'nullable',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, add unique (id), alter id drop not null`,
        code: 'owner_key_nullable',
        object: `${b}.id`,
      },
      {
        what: 'not unique',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey`,
        code: 'owner_key_unique',
        object: `${b}.id`,
      },
      {
        what: 'unique with another column only',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, alter name set not null, add primary key (id, name)`,
        code: 'owner_key_unique',
        object: `${b}.id`,
      },
      {
        what: 'unique, deferrable',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, add unique (id) deferrable`,
        code: 'owner_key_unique',
        object: `${b}.id`,
      },
      {
        what: 'unique for a part of the rows',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey; create unique index on ${b} (id) where name is not null`,
        code: 'owner_key_unique',
        object: `${b}.id`,
      },
      {
        what: 'NOT NULL by a constraint that is not valid',
        only: 18,
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, add unique (id), alter id drop not null, add constraint filled not null id not valid`,
        code: 'owner_key_nullable',
        object: `${b}.id`,
      },
      {
        what: 'of another name than is wanted',
        sql: `alter table ${b} rename id to uid`,
        code: 'owner_key_missing',
        object: `${b}.id`,
        fixes: false,
      },
    ],
    works: [
      {
        what: 'unique beside a primary key of its own',
        sql: `drop table public.business_secrets; alter table ${b} drop constraint businesses_pkey, add unique (id), add number bigint generated always as identity primary key`,
      },
      {
        what: 'of another name',
        sql: `alter table ${b} rename id to business_uuid`,
        wanted: (w) => {
          w.owner_key = 'business_uuid'
        },
      },
      { what: 'without a default', sql: `alter table ${b} alter id drop default` },
    ],
  },
]
