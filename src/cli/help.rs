//! What stands below the options in each command's help: examples, and what its exit codes mean.

pub(super) const ALL: &str = "\
The way of a migration, each step as often as you like:
  app-secrets doctor                  is the database fit for it?
  app-secrets migrate                 from now on both places are written; everything is in Vault
  app-secrets verify                  the proof
  (move the code to the new place)
  app-secrets migrate --drop-legacy   the plaintext columns go
  app-secrets scrub                   and leave the tables' pages
  (rotate the keys at their providers)

With the secrets of a business:
  app-secrets list BUSINESS
  app-secrets set BUSINESS gemini_api_key
  app-secrets run BUSINESS -- node worker.js

Connections:
  ADMIN_DATABASE_URL   the migration role, directly and not through a transaction pooler: for
                       status, migrate, verify, scrub, rollback, doctor, history
  APP_SECRETS_URL      the service login: for list, get, set, unset, import,
                       run;
                       else DATABASE_URL, else ADMIN_DATABASE_URL

Exit codes:
  0    ok
  1    an error, named on stderr
  2    status: migrate, verify or rollback is due; doctor: a check fails;
       others: not migrated
  3    gave up on a lock, whose holder is named: run it again
  4    values differ, are broken, or stand in the pages; nothing was dropped
  5    the connection would not be safe
  6    refused: not confirmed, or not in this state; nothing was changed
  130  stopped by Ctrl-C: run it again, it goes on where it stopped";

/// What a bare `app-secrets` says where it cannot connect.
pub(super) const SHORT: &str = "\
app-secrets moves each business's API keys into Supabase Vault, and looks after them there.

Set ADMIN_DATABASE_URL to a direct connection as the owner of public.businesses (`postgres` on
Supabase), then:
  app-secrets doctor             is the database fit for it?
  app-secrets migrate --dry-run  what would be done
  app-secrets status             where the migration stands

Set APP_SECRETS_URL to a service's connection for list, get, set, unset, import and run.

All commands, options and exit codes: app-secrets --help";

pub(super) const RUN: &str = "\
Examples:
  app-secrets run BUSINESS -- node worker.js
  app-secrets run BUSINESS --map grok_api_key=XAI_API_KEY -- ./sync.sh --once

Exit codes:
  those of the command, once it has started
  1    a secret cannot be read, or another error     2  not migrated
  126  the command cannot be executed     127  there is no such command

ADMIN_DATABASE_URL is not passed on to it.";

pub(super) const STATUS: &str = "\
Examples:
  app-secrets status
  app-secrets status --json | jq -r .next

Exit codes:
  0  nothing is due     2  migrate, verify or rollback is due
  6  refused: a newer package migrated this database";

pub(super) const MIGRATE: &str = "\
Examples:
  app-secrets migrate --dry-run                   what is there to do
  app-secrets migrate --to 2                      the first step alone
  app-secrets migrate --batch 50 --pause-ms 200   gently
  app-secrets migrate --reapply                   closes what a restore opened
  app-secrets migrate --drop-legacy --dry-run     what goes with the columns
  app-secrets migrate --drop-legacy               asks for the database's name
  app-secrets migrate --drop-legacy --yes-drop-plaintext=NAME   in a pipeline

Exit codes:
  0  done     3  gave up on a lock     4  values differ: nothing was dropped
  6  refused: not confirmed, or not in this state     130  stopped: run it again";

pub(super) const VERIFY: &str = "\
Examples:
  app-secrets verify
  app-secrets verify --json | jq .mismatched
  app-secrets verify --fix-orphans              removes rows in Vault that nothing wants
  app-secrets verify --fix-orphans --put-back   after a restore that lacked business_secrets or cells of it

Exit codes:
  0  proved     2  not migrated yet     4  something differs or is broken";

pub(super) const SCRUB: &str = "\
Examples:
  app-secrets scrub --dry-run                which tables, and about how long each is locked
  app-secrets scrub                          asks for the database's name
  app-secrets scrub --yes-lock-tables=NAME   in a pipeline

Exit codes:
  0  done     3  gave up on a lock     4  a value still stands in the pages
  6  refused: not confirmed, or 005 is not applied     130  stopped: run it again";

pub(super) const ROLLBACK: &str = "\
Examples:
  app-secrets rollback
  app-secrets rollback --batch 50 --pause-ms 200   gently

Exit codes:
  0  restored and proven, or nothing to restore     2  an index or the like is not back
  3  gave up on a lock     4  some values could not be restored
  6  refused: Vault has another root key     130  stopped: run it again";

pub(super) const DOCTOR: &str = "\
Examples:
  app-secrets doctor
  app-secrets doctor --full                  opens every value
  app-secrets doctor --json | jq '.checks[] | select(.level == \"fail\")'

Exit codes:
  0  no check fails; there may be warnings     2  a check fails";

pub(super) const LIST: &str = "\
Examples:
  app-secrets list 3f2504e0-4f89-41d3-9a0c-0305e82c3301
  app-secrets list --due 14d

Exit codes:
  0  ok     1  no such business, or another error     2  not migrated";

pub(super) const GET: &str = "\
Examples:
  app-secrets get BUSINESS gemini_api_key
  app-secrets get BUSINESS gemini_api_key --reveal | wl-copy

Exit codes:
  0  ok     1  does not decrypt, not set (with --reveal), or another error
  2  not migrated";

pub(super) const SET: &str = "\
Examples:
  app-secrets set BUSINESS gemini_api_key                   asks, without echo
  pass show gemini | app-secrets set BUSINESS gemini_api_key
  app-secrets set BUSINESS gemini_api_key --file key.txt --expected-version 3
  app-secrets set BUSINESS gemini_api_key --file key.txt --expires-at 2027-01-31 --rotate-every 90d

Exit codes:
  0  set     1  not a value, another version, or another error     2  not migrated
  6  refused: a value on the command line";

pub(super) const UNSET: &str = "\
Examples:
  app-secrets unset BUSINESS gemini_api_key
  app-secrets unset BUSINESS gemini_api_key --expected-version 3
  app-secrets unset BUSINESS gemini_api_key --purge   a key that has leaked: nothing to undo

Exit codes:
  0  cleared     1  another version, or another error     2  not migrated";

pub(super) const UNDO: &str = "\
Examples:
  app-secrets undo BUSINESS gemini_api_key
  app-secrets undo BUSINESS gemini_api_key --expected-version 3

Exit codes:
  0  put back     1  another version, or another error     2  not migrated
  6  refused: there is nothing to put back";

pub(super) const IMPORT: &str = "\
Examples:
  app-secrets import BUSINESS .env --dry-run   the plan, masked
  app-secrets import BUSINESS .env             the plan, then asks
  sops -d env.enc | app-secrets import BUSINESS - --yes

Exit codes:
  0  all are set     1  not such a file, a race with another, or another error
  2  not migrated     6  refused: not confirmed; nothing was changed";

pub(super) const HISTORY: &str = "\
Examples:
  app-secrets history                                      of all businesses
  app-secrets history BUSINESS --name gemini_api_key --limit 5

Exit codes:
  0  ok     1  an error     2  not migrated";

pub(super) const NAMES: &str = "\
Examples:
  app-secrets names list
  app-secrets names add stripe_secret_key --label Stripe
  app-secrets names add stripe_secret_key --legacy-column stripe_key   moves it out of that column
  app-secrets names retire stripe_secret_key

Exit codes:
  0  done     1  not such a name, or another error     2  not migrated
  3  gave up on a lock     6  refused: it is set, or not in this state";

pub(super) const TYPES: &str = "\
Examples:
  app-secrets types --out src/secrets.d.ts
  app-secrets types --out src/secrets.d.ts --check   in a pipeline

Exit codes:
  0  written, or up to date     2  differs (with --check), or not migrated";

pub(super) const INIT: &str = "\
Examples:
  app-secrets init
  app-secrets init --table public.organizations --access-column owner_id
  app-secrets init --names openai_api_key,smtp_password   with no plaintext anywhere yet

Exit codes:
  0  written     6  refused: the file is there, or it is not clear which table; nothing was written";

pub(super) const LOGIN: &str = "\
Examples:
  app-secrets login add klingRoutes --read kling_access_key,kling_secret_key --out kling.env
  app-secrets login add settings --read-all --write-all --print
  app-secrets login list
  app-secrets login remove klingRoutes

Exit codes:
  0  done     1  no such secret or login, or another error     2  not migrated
  6  refused: the login or the file is there already, or it is more than a service's login";

pub(super) const ACCESS: &str = "\
Examples:
  app-secrets access BUSINESS
  app-secrets access BUSINESS --name gemini_api_key --since 7d
  app-secrets access --unusual   in a pipeline

Exit codes:
  0  ok; nothing unusual     1  no such business, or another error
  2  a login reads more than ten times as much as it usually does; or not migrated";

pub(super) const EMIT: &str = "\
Examples:
  app-secrets emit --dir supabase/migrations
  app-secrets names add stripe_secret_key && app-secrets emit --dir supabase/migrations
  app-secrets emit --dir supabase/migrations --drop-legacy   after verify, when no code reads the columns

Exit codes:
  0  written, or nothing to write     1  the folder cannot be read or written";

pub(super) const REKEY: &str = "\
Examples:
  app-secrets rekey begin --file rekey.key             while the app works
  app-secrets rekey begin --file rekey.key --freeze    just before the change
  (change Vault's root key)
  app-secrets rekey finish --file rekey.key

Exit codes:
  0  done     2  not migrated     3  gave up on a lock
  4  a value does not open: the wraps stay
  6  refused: another file, or not in this state; nothing was changed
  130  stopped: run it again";

pub(super) const COMPLETIONS: &str = "\
Examples:
  app-secrets completions bash > /etc/bash_completion.d/app-secrets
  app-secrets completions zsh > ~/.zfunc/_app-secrets";
