// Names that are taken, the app's triggers, publications and views, and the wanted catalogue itself.

const b = 'public.businesses'
const s = 'public.business_secrets'
const taken = (name, sql, object = name) => ({ what: name, sql, code: 'function_taken', object })
const wantedOne = (change) => (w) => {
  Object.assign(w.secrets[0], change)
}
const trigger = (body, event = 'before insert or update', table = b) => `
  create function public.of_the_app() returns trigger language plpgsql as $x$ begin ${body} return new; end $x$;
  create trigger of_the_app ${event} on ${table} for each row execute function public.of_the_app()`

export const wantedKinds = [
  {
    kind: 'names of ours that are taken',
    refused: [
      {
        what: "the view of pgsodium's transparent column encryption",
        sql: `create view public.decrypted_business_secrets as select business_id, google_access_token as decrypted_google_access_token from ${s}`,
        code: 'relation_taken',
        object: 'public.decrypted_business_secrets',
      },
      {
        what: 'a table',
        sql: 'create table public.business_secret_names (name text)',
        code: 'relation_taken',
        object: 'public.business_secret_names',
      },
      {
        what: 'a type',
        sql: "create type public.business_secret_status as enum ('set')",
        code: 'type_taken',
        object: 'public.business_secret_status',
      },
      {
        what: 'the schema',
        sql: 'create schema app_secrets; create table app_secrets.migrations (id serial primary key, name text)',
        code: 'schema_taken',
        object: 'schema app_secrets',
      },
      {
        what: 'the schema, empty',
        sql: 'create schema app_secrets',
        code: 'schema_taken',
        object: 'schema app_secrets',
      },
      taken(
        'public.get_business_secrets(p_business_id uuid)',
        "create function public.get_business_secrets(p_business_id uuid) returns jsonb language sql security definer as $x$ select '{}'::jsonb $x$",
      ),
      taken(
        'public.get_business_secrets(business uuid, names text[])',
        'create function public.get_business_secrets(business uuid, names text[]) returns jsonb language sql as $x$ select null::jsonb $x$',
      ),
      taken(
        'public.set_business_secrets(p_business_id uuid, p_values jsonb, p_expected jsonb)',
        'create function public.set_business_secrets(p_business_id uuid, p_values jsonb, p_expected jsonb) returns void language sql as $x$ select $x$',
      ),
      taken(
        'public.lease_business_secret()',
        'create procedure public.lease_business_secret() language sql as $x$ select $x$',
      ),
      {
        what: 'a trigger',
        sql: trigger('', 'before insert').replace('trigger of_the_app', 'trigger zz_app_secrets_mine'),
        code: 'trigger_name',
        object: `trigger zz_app_secrets_mine on ${b}`,
      },
    ],
    works: [
      {
        what: 'the same names elsewhere',
        sql: 'create schema old; create table old.business_secret_names (name text); create function old.get_business_secrets(uuid) returns text language sql as $x$ select null $x$',
      },
      {
        what: 'names that begin alike',
        sql: 'create table public.business_secrets_log (id bigint); create function public.get_business_secrets_count() returns bigint language sql as $x$ select 0::bigint $x$',
      },
      {
        what: "a schema of the app's",
        sql: 'create schema app_secrets_old; create table app_secrets_old.migrations (id bigint)',
      },
    ],
  },
  {
    kind: "the app's triggers",
    refused: [
      {
        what: 'one on business_secrets that names a table without its schema',
        sql: `create table public.audit_trail (at timestamptz); ${trigger('insert into audit_trail values (now());', 'after insert or update', s)}`,
        code: 'secrets_trigger_path',
        object: `trigger of_the_app on ${s}`,
        found: /names audit_trail /,
      },
      {
        what: 'one that calls a function without its schema',
        sql: `create function public.masked(text) returns text language sql immutable return left($1, 4);
          ${trigger("raise debug '%', masked(new.google_access_token);", 'before insert', s)}`,
        code: 'secrets_trigger_path',
        object: `trigger of_the_app on ${s}`,
        found: /names masked /,
      },
      {
        what: 'one that reads the owner table without its schema',
        sql: trigger('perform 1 from "businesses" b where b.id = new.business_id;', 'before insert', s),
        code: 'secrets_trigger_path',
        object: `trigger of_the_app on ${s}`,
        found: /names businesses /,
      },
    ],
    works: [
      {
        what: 'one that names a key',
        sql: trigger("if new.gemini_api_key is null then raise debug 'none'; end if;"),
        says: {
          severity: 'warn',
          code: 'owner_trigger',
          object: `trigger of_the_app on ${b}`,
          found: /gemini_api_key/,
        },
        dropFirst: `drop trigger of_the_app on ${b}`,
      },
      {
        what: 'one that names a table without its schema',
        sql: `create table public.audit_trail (at timestamptz); ${trigger('insert into audit_trail values (now());', 'after update')}`,
        silent: 'owner_trigger',
      },
      {
        what: 'one on business_secrets',
        sql: `create table public.audit_trail (at timestamptz); ${trigger('insert into public.audit_trail values (now());', 'after insert or update', s)}`,
        silent: 'secrets_trigger_path',
        says: { severity: 'warn', code: 'secrets_trigger', object: `trigger of_the_app on ${s}` },
      },
      {
        what: 'one on business_secrets in C, as moddatetime',
        root: true,
        sql: `create function public.tsvector_update_trigger_byid() returns trigger language internal as 'tsvector_update_trigger_byid';
          alter table ${s} add words tsvector, add title text;
          create trigger of_the_app before insert or update on ${s} for each row
            execute function public.tsvector_update_trigger_byid('words', 'pg_catalog.english', 'title')`,
        silent: 'secrets_trigger_path',
      },
      {
        what: 'one that is disabled',
        sql: `${trigger("new.gemini_api_key := 'x';")}; alter table ${b} disable trigger of_the_app`,
        silent: 'owner_trigger',
      },
    ],
  },
  {
    kind: 'publications and views',
    refused: [],
    works: [
      {
        what: 'a publication of the plaintext',
        sql: `create publication everything for table ${b}`,
        says: { severity: 'warn', code: 'publication_plaintext', object: 'publication everything' },
      },
      {
        what: 'a publication with a list of columns',
        sql: `create publication partial for table ${b} (id, name, gemini_api_key)`,
        says: {
          severity: 'note',
          code: 'publication_columns',
          object: 'publication partial',
          found: /gemini_api_key/,
        },
        dropFirst: 'alter publication partial set table public.businesses (id, name)',
      },
      {
        what: 'a view over a token',
        sql: `create view public.tokens as select google_access_token from ${s}`,
        says: { severity: 'warn', code: 'dependent_view', object: 'view public.tokens' },
      },
    ],
  },
  {
    kind: 'what is wanted',
    refused: [
      {
        what: 'a value for a name',
        wanted: wantedOne({ name: 'AIza-1234567890' }),
        code: 'wanted_name',
        object: 'secrets[1].name',
        hides: 'AIza-1234567890',
        fixes: false,
      },
      {
        what: 'a name of 49 characters',
        wanted: wantedOne({ name: 'k'.repeat(49) }),
        code: 'wanted_name',
        object: 'secrets[1].name',
        fixes: false,
      },
      {
        what: 'a name that is no string',
        wanted: wantedOne({ name: 5 }),
        code: 'wanted_name',
        object: 'secrets[1].name',
        fixes: false,
      },
      {
        what: 'a reserved name',
        wanted: wantedOne({ name: 'business_id' }),
        code: 'wanted_reserved',
        object: 'secrets[1].name',
        fixes: false,
      },
      {
        what: 'a name twice',
        wanted: wantedOne({ name: 'grok_api_key' }),
        code: 'wanted_twice',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: 'a legacy column twice',
        wanted: wantedOne({ legacy_column: 'grok_api_key' }),
        code: 'wanted_legacy_twice',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: 'the key as a legacy column',
        wanted: wantedOne({ legacy_column: 'id' }),
        code: 'wanted_legacy_key',
        object: 'secrets[1].legacy_column',
        fixes: false,
      },
      {
        what: 'another type',
        wanted: wantedOne({ type: 'jsonb' }),
        code: 'wanted_type',
        object: 'secrets[1].type',
        fixes: false,
      },
      {
        what: 'a sealed date',
        wanted: wantedOne({ type: 'timestamptz' }),
        code: 'wanted_type',
        object: 'secrets[1].type',
        fixes: false,
      },
      {
        what: 'a label that is no string',
        wanted: wantedOne({ label: {} }),
        code: 'wanted_item',
        object: 'secrets[1]',
        fixes: false,
      },
      {
        what: 'no list',
        wanted: (w) => Object.assign(w, { secrets: 'all' }),
        code: 'wanted_shape',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: '201 names',
        wanted: (w) => {
          w.secrets = Array.from({ length: 201 }, (_, i) => ({
            name: `key_${i}`,
            label: 'Key',
            sealed: true,
            type: 'text',
            legacy_column: null,
          }))
        },
        code: 'wanted_count',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: 'an owner table of no name',
        wanted: (w) => Object.assign(w, { owner_table: 'public.businesses; drop' }),
        code: 'owner_name',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: 'an owner table of three parts',
        wanted: (w) => Object.assign(w, { owner_table: 'a.b.c' }),
        code: 'owner_name',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      ...['owner_table', 'owner_key'].map((name) => ({
        what: `no ${name}`,
        wanted: (w) => {
          delete w[name]
        },
        code: 'wanted_owner',
        object: 'app_secrets.wanted',
        found: new RegExp(name),
        fixes: false,
      })),
      {
        what: 'no secrets',
        wanted: (w) => Object.assign(w, { secrets: [] }),
        code: 'wanted_count',
        object: 'app_secrets.wanted',
        fixes: false,
      },
      {
        what: 'a blank label',
        wanted: wantedOne({ label: ' \u00a0' }),
        code: 'wanted_label',
        object: 'secrets[1].label',
        fixes: false,
      },
      {
        what: 'business_secrets as the owner',
        wanted: (w) => Object.assign(w, { owner_table: s, owner_key: 'business_id', access: null }),
        code: 'owner_is_secrets',
        object: s,
        fixes: false,
      },
    ],
    works: [
      {
        what: 'greenfield',
        sql: `drop table ${s}; alter table ${b} drop gemini_api_key, drop grok_api_key, drop claude_api_key, drop youtube_api_key, drop kling_access_key, drop kling_secret_key, drop global_sms_api_key, drop whatsapp_api_key`,
        says: { severity: 'warn', code: 'legacy_missing', object: `${b}.gemini_api_key` },
      },
      {
        what: 'some of the plaintext columns',
        sql: `alter table ${b} drop gemini_api_key, drop kling_secret_key`,
        says: { severity: 'warn', code: 'legacy_missing', object: `${b}.kling_secret_key` },
      },
      {
        what: 'other names over other columns',
        sql: `alter table ${b} rename gemini_api_key to "stripeKey"`,
        wanted: wantedOne({ name: 'stripe', legacy_column: 'stripeKey' }),
      },
      {
        what: '200 names',
        wanted: (w) => {
          w.secrets = Array.from({ length: 200 }, (_, i) => ({
            name: `key_${i}`,
            label: 'Key',
            sealed: true,
            type: 'text',
            legacy_column: null,
          }))
        },
      },
    ],
  },
]
