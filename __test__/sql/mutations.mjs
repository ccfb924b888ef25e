// Every protection, broken in turn: { name, guard, sql, caughtBy }. `caughtBy` is a cell of the access matrix or a probe,
// and must turn red; `guard` names the protection as guards() finds it in the catalogues, so that one without a mutation
// turns the test red as well.

import { functionsAt, privateTables } from './access-matrix.mjs'

/** All mutations are of a database in which every migration is applied: it has all functions. */
export const version = 5

const table = 'public.business_secrets'
const view = 'public.decrypted_business_secrets'
const status = 'public.business_secret_status'
const secretNames = 'public.business_secret_names'
const readCells = 'app_secrets.read_cells(uuid[], text[], boolean, name, bigint, bigint)'
const functions = functionsAt(version)
const tables = [table, ...Object.keys(privateTables)]

/** Who shows that a grant to a role took effect. */
const witness = {
  public: 'anon',
  anon: 'anon',
  authenticated: 'nobody',
  service_role: 'service',
  app_secrets_service: 'login',
}

/** Replaces a piece of a function's body; fails where the piece is not there any more. */
function rewrite(signature, from, to) {
  return `do $mutate$
    declare
      v_definition constant text := pg_catalog.pg_get_functiondef('${signature}'::pg_catalog.regprocedure);
    begin
      if pg_catalog.strpos(v_definition, $from$${from}$from$) = 0 then
        raise exception 'nothing to replace in ${signature}';
      end if;
      execute pg_catalog.replace(v_definition, $from$${from}$from$, $to$${to}$to$);
    end $mutate$`
}

const onPolicies = [
  ['select', 'owner', 'select', 'other', 'using (true)'],
  ['insert', 'owner', 'insert D', 'other', 'with check (true)'],
  ['update', 'owner', 'update', 'other', 'using (true) with check (true)'],
  ['delete', 'owner', 'delete', 'other', 'using (true)'],
].flatMap(([command, rightful, operation, intruder, loose]) => {
  const guard = `policy ${table} business_secrets_${command}`
  const policy = `policy business_secrets_${command} on ${table}`
  return [
    { guard, name: 'dropped', sql: `drop ${policy}`, caughtBy: `${table} ${operation} ${rightful}` },
    {
      guard,
      name: 'always true',
      sql: `alter ${policy} ${loose}`,
      caughtBy: `${table} ${operation} ${intruder}`,
    },
    {
      guard,
      name: 'for everybody',
      sql: `alter ${policy} to public`,
      caughtBy: 'policies are the ones listed',
    },
    {
      guard,
      name: 'for another role',
      sql: `alter ${policy} to anon`,
      caughtBy: `${table} ${operation} ${rightful}`,
    },
  ]
})

const onOtherPolicies = [
  {
    guard: `policy ${table} business_secrets_update`,
    name: 'lets a row go anywhere',
    sql: `alter policy business_secrets_update on ${table} with check (true)`,
    caughtBy: 'a row cannot be moved to another tenant, triggers or not',
  },
  {
    guard: `policy ${table} business_secrets_update`,
    name: 'touches what it may not write',
    sql: `alter policy business_secrets_update on ${table} using (true)`,
    caughtBy: `${table} update other`,
  },
  {
    guard: `policy ${table} business_secrets_service`,
    name: 'dropped',
    sql: `drop policy business_secrets_service on ${table}`,
    caughtBy: 'a login in service_role, without BYPASSRLS, works by its policy',
  },
  {
    guard: `policy ${table} business_secrets_service`,
    name: 'for everybody',
    sql: `alter policy business_secrets_service on ${table} to public`,
    caughtBy: `${table} select other`,
  },
  {
    guard: `policy ${table} business_secrets_service`,
    name: 'for every user',
    sql: `alter policy business_secrets_service on ${table} to authenticated`,
    caughtBy: `${table} select bare`,
  },
  {
    guard: `policy ${table} business_secrets_select`,
    name: 'another one beside it',
    sql: `create policy more on ${table} for select to authenticated using (google_drive_folder_id is not null)`,
    caughtBy: `${table} select former`,
  },
  ...Object.keys(privateTables).flatMap((name) => [
    {
      guard: `policy ${name} nobody`,
      name: 'always true',
      sql: `alter policy nobody on ${name} using (true)`,
      caughtBy: `${name} shows no row even to a role that was granted it`,
    },
    {
      guard: `policy ${name} nobody`,
      name: 'dropped',
      sql: `drop policy nobody on ${name}`,
      caughtBy: 'policies are the ones listed',
    },
  ]),
]

const rowSecurity = tables.map((name) => ({
  guard: `row security ${name}`,
  name: 'disabled',
  sql: `alter table ${name} disable row level security`,
  caughtBy:
    name === table ? `${table} select other` : `${name} shows no row even to a role that was granted it`,
}))

/** What is granted, and what shows that it is gone. */
export const grants = [
  ...['authenticated', 'service_role'].flatMap((role) => {
    const actor = role === 'authenticated' ? 'owner' : 'service'
    return [
      [table, role, 'SELECT', `${table} select ${actor}`],
      [table, role, 'INSERT', `${table} insert D ${actor}`],
      [table, role, 'UPDATE', `${table} update ${actor}`],
      [table, role, 'DELETE', `${table} delete ${actor}`],
      [view, role, 'SELECT', `${view} select ${actor}`],
      ['app_secrets.reveal(uuid, text, text)', role, 'EXECUTE', `${view} select ${actor}`],
      [
        'app_secrets.reveal_in_place(uuid, text, text)',
        role,
        'EXECUTE',
        `app_secrets.reveal_in_place(uuid, text, text) privileges ${actor}`,
      ],
      [status, role, 'SELECT', `${status} select ${actor}`],
      [status, role, 'UPDATE', `${status} update ${actor}`],
      ['app_secrets.cell_status(uuid, text)', role, 'EXECUTE', `${status} select ${actor}`],
      ['app_secrets.businesses_without_secrets()', role, 'EXECUTE', `${status} select ${actor}`],
      [secretNames, role, 'SELECT', `${secretNames} select ${actor}`],
      ['app_secrets.shown_names()', role, 'EXECUTE', `${secretNames} select ${actor}`],
    ]
  }),
  [secretNames, 'app_secrets_service', 'SELECT', `${secretNames} select login`],
  ['app_secrets.shown_names()', 'app_secrets_service', 'EXECUTE', `${secretNames} select login`],
  ['app_secrets.current_business_ids()', 'authenticated', 'EXECUTE', `${table} select owner`],
  ...Object.keys(functions)
    .filter((name) => name.startsWith('public.'))
    .flatMap((name) => [
      [name, 'service_role', 'EXECUTE', `${name} execute service`],
      [name, 'app_secrets_service', 'EXECUTE', `${name} execute login`],
    ]),
]

const revoked = grants.map(([object, role, privilege, caughtBy]) => ({
  guard: `grant ${privilege} on ${object} to ${role}`,
  name: 'revoked',
  sql: `revoke ${privilege} on ${object.includes('(') ? 'function' : 'table'} ${object} from ${role}`,
  caughtBy,
}))

const granted = (object, role, privilege) =>
  grants.some(([o, r, p]) => o === object && r === role && p === privilege.toUpperCase())

const widenable = [
  ...[...tables, view, status, secretNames].map((name) => [
    'table',
    name,
    ['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'],
  ]),
  ...Object.keys(functions).map((name) => ['function', name, ['execute']]),
  ['sequence', 'app_secrets.audit_log_id_seq', ['usage', 'select', 'update']],
  ['sequence', 'app_secrets.dropped_objects_id_seq', ['usage', 'select', 'update']],
  ['sequence', 'app_secrets.verifications_id_seq', ['usage', 'select', 'update']],
  ['sequence', 'app_secrets.versions', ['usage', 'select', 'update']],
  ['schema', 'app_secrets', ['usage', 'create']],
]

const widened = widenable.flatMap(([kind, object, privileges]) => {
  const cell = `${kind === 'schema' ? 'schema ' : ''}${object} privileges`
  return privileges.flatMap((privilege) =>
    Object.entries(witness)
      .filter(([role]) => !granted(object, role, privilege))
      .map(([role, actor]) => ({
        guard: `no other grant on ${object}`,
        name: `${privilege} to ${role}`,
        sql: `grant ${privilege} on ${kind} ${object} to ${role}`,
        caughtBy: `${cell} ${actor}`,
      })),
  )
})

const onColumns = tables.map((name) => ({
  guard: `no other grant on ${name}`,
  name: 'select on one column to anon',
  sql: `grant select (${privateTables[name] ?? 'gemini_api_key'}) on ${name} to anon`,
  caughtBy: `${name} privileges anon`,
}))

const passedOn = {
  guard: `no other grant on ${table}`,
  name: 'with grant option',
  sql: `grant select on ${table} to authenticated with grant option`,
  caughtBy: `${table} privileges nobody`,
}

const onFunctions = Object.entries(functions).flatMap(([name, runsAs]) => [
  {
    guard: `search_path of ${name}`,
    name: 'reset',
    sql: `alter function ${name} reset search_path`,
    caughtBy: 'every function puts the temporary schema last in its search_path',
  },
  {
    guard: `security of ${name}`,
    name: 'turned round',
    sql: `alter function ${name} security ${runsAs === 'definer' ? 'invoker' : 'definer'}`,
    caughtBy: 'every function is listed, with whom it runs as',
  },
  {
    guard: `owner of ${name}`,
    name: 'a role of the Data API',
    sql: `alter function ${name} owner to service_role`,
    caughtBy: 'everything belongs to the migration role',
  },
])

const onOwners = [
  ...[...tables, view, status, secretNames].map((name) => ({
    guard: `owner of ${name}`,
    name: 'a role of the Data API',
    sql: `alter table ${name} owner to authenticated`,
    caughtBy: 'everything belongs to the migration role',
  })),
  {
    guard: 'owner of app_secrets',
    name: 'a role of the Data API',
    sql: 'alter schema app_secrets owner to service_role',
    caughtBy: 'everything belongs to the migration role',
  },
]

const onView = [view, status, secretNames].flatMap((name) =>
  ['security_invoker', 'security_barrier'].map((option) => ({
    guard: `${option} of ${name}`,
    name: 'off',
    sql: `alter view ${name} reset (${option})`,
    caughtBy: 'the views run as their callers, behind a barrier',
  })),
)

const onOpenView = {
  guard: `security_invoker of ${view}`,
  name: 'off, as its readers see it',
  sql: `alter view ${view} set (security_invoker = false)`,
  caughtBy: `${view} select other`,
}

const onChecks = [
  'gemini_api_key',
  'grok_api_key',
  'claude_api_key',
  'youtube_api_key',
  'kling_access_key',
  'kling_secret_key',
  'global_sms_api_key',
  'whatsapp_api_key',
  'google_access_token',
  'google_refresh_token',
].map((column) => ({
  guard: `check ${column}_is_reference`,
  name: 'dropped',
  sql: `alter table ${table} drop constraint ${column}_is_reference`,
  caughtBy: `${column} holds nothing but a reference, triggers or not`,
}))

const onTriggers = [
  ['zz_app_secrets_seal', `${table} insert D owner`],
  ['zz_app_secrets_reap', 'a cell that goes takes its Vault row along'],
  ['zz_app_secrets_reap_all', 'a truncated table leaves nothing in Vault'],
].flatMap(([trigger, caughtBy]) => [
  { guard: `trigger ${trigger}`, name: 'dropped', sql: `drop trigger ${trigger} on ${table}`, caughtBy },
  {
    guard: `trigger ${trigger}`,
    name: 'disabled',
    sql: `alter table ${table} disable trigger ${trigger}`,
    caughtBy,
  },
])

const onBodies = [
  {
    guard: 'body of accessible_business_ids',
    name: 'lets everybody in',
    sql: rewrite('app_secrets.accessible_business_ids()', 'where b.owner_id = (select auth.uid())', ''),
    caughtBy: `${table} select other`,
  },
  {
    guard: 'body of accessible_business_ids',
    name: 'believes what users say of themselves',
    sql: rewrite(
      'app_secrets.accessible_business_ids()',
      '(select auth.uid())',
      "(select (auth.jwt() -> 'user_metadata' ->> 'sub')::uuid)",
    ),
    caughtBy: `${table} select forged`,
  },
  {
    guard: 'body of reveal',
    name: 'opens any reference',
    sql: rewrite(
      'app_secrets.reveal(uuid, text, text)',
      "and d.name = 'business_secrets/' || p_business_id || '/' || p_name",
      '',
    ),
    caughtBy: 'a planted reference to another cell reveals nothing in the view',
  },
  {
    guard: 'body of reveal',
    name: 'opens any reference of the same business',
    sql: rewrite(
      'app_secrets.reveal(uuid, text, text)',
      "= 'business_secrets/' || p_business_id || '/' || p_name",
      "like 'business_secrets/' || p_business_id || '/%'",
    ),
    caughtBy: 'a planted reference to another cell reveals nothing in the view',
  },
  {
    guard: 'body of reveal',
    name: "finds the caller's operators",
    sql: 'alter function app_secrets.reveal(uuid, text, text) reset search_path',
    caughtBy: 'an operator of the caller does not run in a function of ours',
  },
  {
    guard: 'body of read_cells',
    name: 'opens any reference',
    sql: rewrite(readCells, "and d.name = 'business_secrets/' || r.business_id || '/' || r.name", ''),
    caughtBy: 'a planted reference to another cell reveals nothing through the RPC',
  },
  ...[
    [
      'app_secrets.scope_of_caller(boolean)',
      'gives a login without a scope everything',
      "names = '{}' and app_secrets.is_administrator(caller)",
      "names = '{}'",
      'a login without a scope reads and writes nothing',
    ],
    [
      'app_secrets.scope_of_caller(boolean)',
      'takes every name for all of them',
      "'*' = any (names)",
      'true',
      'a login reads and writes the names of its scope and no others',
    ],
    [
      'app_secrets.admitted_caller()',
      'leaves it to grants who may call',
      "not pg_has_role(v_caller, 'app_secrets_service', 'member')",
      'false',
      'what a restore has granted opens nothing',
    ],
    [
      'app_secrets.admitted_caller()',
      'does not notice a restore',
      'if has_function_privilege(',
      'if false and has_function_privilege(',
      'functions that are open to anon serve nobody',
    ],
    [
      'app_secrets.admitted_caller()',
      "lets the caller's types in",
      'pg_my_temp_schema() <> 0',
      'false',
      "temporary domains of the actor login run with nobody else's rights",
    ],
    [
      'app_secrets.current_business_ids()',
      "lets the user's types in",
      'pg_my_temp_schema() <> 0',
      'false',
      "temporary types of a user do not run in the app's own access function",
    ],
    [
      'app_secrets.reveal(uuid, text, text)',
      "lets the caller's types into Vault",
      'pg_my_temp_schema() <> 0',
      'false',
      "temporary composites of the actor service run with nobody else's rights",
    ],
    [
      'app_secrets.cell_status(uuid, text)',
      "lets the caller's types into Vault",
      'pg_my_temp_schema() <> 0',
      'false',
      "temporary enums of the actor service run with nobody else's rights",
    ],
    [
      readCells,
      'reads outside the scope',
      'and (c.names is null or r.name = any (c.names))',
      '',
      'a login reads and writes the names of its scope and no others',
    ],
    [
      readCells,
      'takes what may be written for what may be read',
      ' and g.may_read',
      '',
      'a login reads and writes the names of its scope and no others',
    ],
    [
      readCells,
      "reads with anybody's scope",
      'g.login = p_caller and ',
      '',
      'a login without a scope reads and writes nothing',
    ],
  ].map(([signature, name, from, to, caughtBy]) => ({
    guard: `body of ${signature.split('.')[1].split('(')[0]}`,
    name,
    sql: rewrite(signature, from, to),
    caughtBy,
  })),
  {
    guard: 'body of seal_row',
    name: 'takes any reference for its own',
    sql: rewrite(
      'app_secrets.seal_row()',
      'r.vault_id = v_value::uuid and r.business_id = new.business_id and r.name = v_name',
      'r.vault_id = v_value::uuid',
    ),
    caughtBy: 'a reference to another cell is stored as text',
  },
  {
    guard: 'body of seal_row',
    name: 'takes whatever looks like a reference for one',
    sql: rewrite(
      'app_secrets.seal_row()',
      "if v_role = 'current' then",
      "if v_role = 'current' or v_role is null then",
    ),
    caughtBy: 'a reference to another cell is stored as text',
  },
  {
    guard: 'body of seal_row',
    name: 'lets a row change its business',
    sql: rewrite(
      'app_secrets.seal_row()',
      'elsif new.business_id <> old.business_id then',
      'elsif false then',
    ),
    caughtBy: 'a row keeps its business',
  },
  {
    guard: 'body of record_changes',
    name: 'writes down the role and not the login',
    sql: rewrite('app_secrets.record_changes(uuid, text[], text[])', 'session_user', 'current_user'),
    caughtBy: 'the audit names the login that connected and the claimed user',
  },
]

const onRoles = [
  ['bypasses row security', 'alter role app_secrets_service bypassrls'],
  ['logs in itself', 'alter role app_secrets_service login'],
  ['may become service_role', 'grant service_role to app_secrets_service'],
  ['is open to users', 'grant app_secrets_service to authenticated'],
  ['is open to the Data API', 'grant app_secrets_service to authenticator'],
].map(([name, sql]) => ({
  guard: 'role app_secrets_service',
  name,
  sql,
  caughtBy: 'the service group is nobody, and in no other role',
}))

export const mutations = [
  ...onPolicies,
  ...onOtherPolicies,
  ...rowSecurity,
  ...revoked,
  ...widened,
  ...onColumns,
  passedOn,
  ...onFunctions,
  ...onOwners,
  ...onView,
  onOpenView,
  ...onChecks,
  ...onTriggers,
  ...onBodies,
  ...onRoles,
]
