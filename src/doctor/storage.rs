//! Ledger, Vault, plaintext, cells, triggers, publications.

use super::{Examined, Level, Report, Verdict, some};
use crate::admin::{FILES, FILL, File, Finding, RPC, triggers as shipped_triggers};
use crate::error::Result;
use crate::queries::proof::{Cells, Range};
use crate::queries::server::{self, Canary};
use crate::queries::{backfill, inspect, pages, proof};

/// Businesses whose values a sample opens.
const SAMPLE: u32 = 300;

pub(super) fn ledger(report: &mut Report, examined: &Examined) {
    let verdict = drift(examined);
    let why = match verdict.level {
        Level::Warn => {
            "Keys are encrypted from 003 on; policies, versions for caches and the RPC of the services come with 004."
        }
        _ => {
            "Files that were changed after they were applied, or applied by a newer package, are not what this one \
             expects."
        }
    };
    report.add("ledger", why, Ok(verdict));
}

fn drift(examined: &Examined) -> Verdict {
    let newer: Vec<String> = examined
        .applied
        .iter()
        .filter(|entry| File::of_version(entry.version).is_none())
        .map(|entry| format!("{:03} {}", entry.version, entry.name))
        .collect();
    if !newer.is_empty() {
        return Verdict::fail(format!("applied by a newer package: {}", some(&newer)), "update @app/secrets");
    }
    let mut edited = Vec::new();
    let mut unchecked = Vec::new();
    for file in &FILES {
        let entry = examined.applied.iter().find(|entry| entry.version == file.version);
        match entry.map(|entry| entry.checksum.as_deref()) {
            Some(Some(checksum)) if checksum != file.checksum() => edited.push(file.file_name()),
            Some(None) => unchecked.push(file.file_name()),
            _ => {}
        }
    }
    if !edited.is_empty() {
        return Verdict::fail(
            format!("another text was applied of {}", some(&edited)),
            "compare your copy with the package's; `app-secrets migrate --reapply` applies the package's",
        );
    }
    let pending: Vec<String> = FILES
        .iter()
        .filter(|file| !examined.has(file.version) && !file.is_contracting())
        .map(File::file_name)
        .collect();
    if !pending.is_empty() {
        return Verdict::warn(format!("not applied: {}", some(&pending)), "app-secrets migrate");
    }
    let due: Vec<String> =
        examined.catalogue.names.iter().filter(|name| name.is_due()).map(|name| name.name.clone()).collect();
    if examined.has(FILL) && !due.is_empty() {
        return Verdict::warn(
            format!("not filled, sealed or proven yet: {}", some(&due)),
            "app-secrets migrate",
        );
    }
    let how = if unchecked.is_empty() { "" } else { "; some by another tool, which records no checksum" };
    Verdict::ok(format!("{} files applied{how}", examined.applied.len()))
}

pub(super) async fn vault(report: &mut Report, examined: &mut Examined) {
    report.add(
        "vault.provider",
        "Vault keeps the root key outside the database; anything else that goes by its name may not.",
        provider(examined).await,
    );
    report.add(
        "vault.key",
        "A restore under another root key opens nothing: then the key is wrong, and not the rows.",
        key(examined).await,
    );
}

async fn provider(examined: &mut Examined) -> Result<Verdict> {
    let vault = server::vault(&mut examined.connection).await?;
    Ok(match vault.version {
        None if !vault.exists => {
            Verdict::fail("there is none", "create extension supabase_vault with schema vault cascade")
        }
        None => Verdict::warn(
            "schema vault was made by something other than supabase_vault: a stand-in for development",
            "in production: create extension supabase_vault with schema vault cascade",
        ),
        Some(version) if version.starts_with("0.2") || version.starts_with("0.1") => Verdict::warn(
            format!("supabase_vault {version}, which rests on the deprecated pgsodium"),
            "upgrade the Supabase project's PostgreSQL image",
        ),
        Some(version) => Verdict::ok(format!("supabase_vault {version}")),
    })
}

async fn key(examined: &mut Examined) -> Result<Verdict> {
    let works = server::round_trip(&mut examined.connection).await.unwrap_or(false);
    if !works {
        return Ok(Verdict::fail(
            "Vault does not give back what it is given",
            "look at the server's log; on Supabase, open a ticket",
        ));
    }
    if !examined.has(2) {
        return Ok(Verdict::ok("Vault gives back what it is given"));
    }
    Ok(match server::canary(&mut examined.connection).await? {
        Canary::Alive => Verdict::ok("what was sealed at the migration still opens"),
        Canary::Dead => other_key(examined).await?,
        Canary::Missing => Verdict::fail(
            "the probe that 002 sealed is gone: were Vault's rows left out of a restore?",
            "restore vault.secrets as its owner; `app-secrets verify` says what dangles. `app-secrets migrate --reapply` \
             seals a new probe",
        ),
    })
}

/// The probe of 002 does not open. Whether everything else does tells a key that was changed on purpose, the values
/// written anew under it, from one that is wrong.
async fn other_key(examined: &mut Examined) -> Result<Verdict> {
    const ANEW: &str = "delete from vault.secrets where name = 'app_secrets/canary', then `app-secrets migrate \
                        --reapply`, which seals a new probe";
    let which = which_cells(examined);
    let (faults, opened) = proof::cell_faults(&mut examined.connection, &examined.catalogue, which).await?;
    let lost = faults.undecryptable.count;
    Ok(if lost == 0 {
        Verdict::warn(
            format!(
                "all of {opened} values open, but the probe that 002 sealed does not: it was sealed under another root key"
            ),
            format!("where the root key was changed on purpose: {ANEW}"),
        )
    } else {
        Verdict::fail(
            "Vault works, but not with the root key that the secrets were sealed under",
            format!(
                "where it was changed by a restore: bring back the old root key (Supabase: that of the old project). \
                 Where it was changed on purpose: write every value anew (docs/operations.md, \"The root key\"), {ANEW}"
            ),
        )
    })
}

pub(super) async fn plaintext(report: &mut Report, examined: &mut Examined) {
    report.add(
        "plaintext.columns",
        "Whoever reads the owner table reads these: policies, dumps, replicas and logs of it all have them.",
        columns(examined).await,
    );
    let is_gone = examined.catalogue.names.iter().any(|name| name.legacy_state == "dropped")
        && examined.catalogue.synced().next().is_none();
    if is_gone {
        report.add(
            "plaintext.pages",
            "Dropping a column leaves its values in the table's pages, and so in every physical backup.",
            in_pages(examined).await,
        );
    }
}

async fn columns(examined: &mut Examined) -> Result<Verdict> {
    let back = server::columns_back(&mut examined.connection, &examined.catalogue).await?;
    if !back.is_empty() {
        return Ok(Verdict::fail(
            format!("back since 005, so that old code writes plaintext there again: {}", some(&back)),
            "find who made them; move what they hold with `app-secrets set`, then drop them",
        ));
    }
    if examined.catalogue.synced().next().is_none() {
        return Ok(Verdict::ok("none"));
    }
    let values = backfill::plaintext_values(&mut examined.connection, &examined.catalogue).await?;
    Ok(match values {
        0 => Verdict::ok("they are there, and empty"),
        values if examined.has(FILL) => Verdict::warn(
            format!("values in clear: {values}, kept in step with Vault"),
            "app-secrets migrate --drop-legacy, once no code reads them",
        ),
        values => Verdict::warn(format!("values in clear: {values}, not migrated"), "app-secrets migrate"),
    })
}

async fn in_pages(examined: &mut Examined) -> Result<Verdict> {
    let tables = [examined.catalogue.owner_table.clone(), "public.business_secrets".to_owned()];
    if let Some(search) = pages::search(&mut examined.connection, &examined.catalogue, &tables).await? {
        return Ok(match search.found {
            0 => Verdict::ok(format!("sealed values in the tables' pages: none of {}", search.values)),
            found => Verdict::fail(
                format!("sealed values in the tables' pages: {found} of {}", search.values),
                "app-secrets scrub",
            ),
        });
    }
    let rewritten = inspect::rewritten(&mut examined.connection).await?;
    Ok(if rewritten.is_clean() {
        Verdict::ok("both tables were rewritten since (this login may not read pages)")
    } else {
        Verdict::warn("not rewritten since the plaintext was dropped", "app-secrets scrub")
    })
}

pub(super) async fn triggers(report: &mut Report, examined: &mut Examined) {
    let expected = shipped_triggers(&examined.applied, &examined.catalogue);
    let verdict = proof::idle_triggers(&mut examined.connection, &expected).await.map(|idle| {
        let idle: Vec<String> = idle
            .iter()
            .map(|(name, exists)| format!("{name} is {}", if *exists { "disabled" } else { "missing" }))
            .collect();
        if idle.is_empty() {
            return Verdict::ok(format!("{} triggers, all enabled", expected.len()));
        }
        Verdict::fail(
            some(&idle),
            "alter table … enable trigger …, or `app-secrets migrate --reapply`; then `app-secrets verify`: what was \
             written meanwhile passed them by",
        )
    });
    report.add(
        "triggers",
        "They seal what is written, and keep both sides equal: without them plaintext stays plaintext.",
        verdict.map_err(Into::into),
    );
}

fn which_cells(examined: &Examined) -> Cells {
    if examined.is_full { Cells::Of(Range::default()) } else { Cells::Sample(SAMPLE) }
}

pub(super) async fn cells(report: &mut Report, examined: &mut Examined) {
    let guarded =
        examined.catalogue.sealed().filter(|name| matches!(name.in_place.as_str(), "none" | "sealed"));
    let sealed: Vec<&str> = guarded.map(|name| name.name.as_str()).collect();
    let guards = server::cell_guards(&mut examined.connection, &sealed).await;
    let which = which_cells(examined);
    let faults = proof::cell_faults(&mut examined.connection, &examined.catalogue, which).await;
    let ((faults, opened), guards) = match (faults, guards) {
        (Ok(faults), Ok(guards)) => (faults, guards),
        (Err(fault), _) | (_, Err(fault)) => {
            report.add("cells.sealed", "A sealed column holds references, never text.", Err(fault.into()));
            return;
        }
    };
    let (unguarded, samples) = guards;
    let sealing = if faults.unsealed.count > 0 {
        broken(
            &faults.unsealed,
            "cells that hold text instead of a reference",
            "write them again: the triggers seal them",
        )
    } else if !unguarded.is_empty() {
        Verdict::fail(
            format!("no validated constraint {}_is_reference", unguarded.join("_is_reference, ")),
            "find out who dropped it; `app-secrets migrate --reapply` puts it back",
        )
    } else if samples > 0 {
        Verdict::warn(
            format!("plaintext values in the planner's samples (pg_stats): {samples}"),
            "analyze public.business_secrets",
        )
    } else {
        Verdict::ok("references only, and a constraint on each column")
    };
    report.add("cells.sealed", "A sealed column holds references, never text.", Ok(sealing));
    report.add(
        "cells.references",
        "A reference without its Vault row is a lost secret.",
        Ok(broken(
            &faults.dangling,
            "cells that refer to nothing",
            "bring Vault's rows back first, by a restore of vault.secrets as its owner; what no backup has, set anew \
             (`app-secrets set`): nothing else is lost by that",
        )),
    );
    let unknown = proof::unknown_cells(&mut examined.connection, &examined.catalogue, which).await;
    report.add(
        "cells.register",
        "app_secrets.vault_rows says which rows of Vault are ours, and secret_versions which value caches have: without them \
         cells cannot be written, and changes are not noticed.",
        unknown
            .map(|(register, versions)| match (register.count, versions.count) {
                (0, 0) => Verdict::ok("every cell is known"),
                (0, _) => broken(&versions, "cells without a version", "app-secrets migrate --reapply"),
                _ => broken(
                    &register,
                    "cells whose row in Vault is not registered",
                    "app-secrets migrate --reapply registers what cells refer to",
                ),
            })
            .map_err(Into::into),
    );
    report.add(
        "cells.decrypt",
        "A value that does not open is lost; with vault.key ok it is that row that is broken, and not the key.",
        Ok(match faults.undecryptable.count {
            0 if examined.is_full => Verdict::ok(format!("every value opens: {opened}")),
            0 => Verdict::ok(format!("each of {opened} values opens, of {SAMPLE} businesses at most (all: --full)")),
            _ => broken(
                &faults.undecryptable,
                "values that do not decrypt",
                "with vault.key ok, bring back the row from a backup of vault.secrets; what no backup has, set anew \
                 (`app-secrets set`)",
            ),
        }),
    );
    let orphans = proof::orphans(&mut examined.connection).await.map(|orphans| match orphans.count {
        0 => Verdict::ok("none"),
        count => Verdict::warn(
            format!("Vault rows that nothing refers to: {count} ({})", some(&orphans.samples)),
            "after a restore that lacked business_secrets or cells of it: `app-secrets verify --fix-orphans --put-back`, \
             which gives them to whoever may access their business now. Else `app-secrets verify --fix-orphans`, which removes \
             those that nothing wants",
        ),
    });
    report.add(
        "cells.orphans",
        "A Vault row that no cell refers to is a secret that nobody knows of, and nobody rotates.",
        orphans.map_err(Into::into),
    );
}

fn broken(finding: &Finding, what: &str, fix: &str) -> Verdict {
    match finding.count {
        0 => Verdict::ok("none is broken"),
        count => Verdict::fail(format!("{what}: {count} ({})", some(&finding.samples)), fix),
    }
}

pub(super) async fn publications(report: &mut Report, examined: &mut Examined) {
    report.add(
        "publication",
        "Logical replication and Realtime send rows out of the database.",
        published(examined).await,
    );
}

async fn published(examined: &mut Examined) -> Result<Verdict> {
    let columns: Vec<String> =
        examined.catalogue.synced().filter_map(|name| name.legacy_column.clone()).collect();
    let owner = examined.catalogue.owner_table.clone();
    let found = server::published(&mut examined.connection, &owner, &columns).await?;
    let is_plain = !columns.is_empty();
    let leaks: Vec<String> = found
        .iter()
        .filter(|(_, table)| match table.as_str() {
            "public.business_secrets" => !examined.has(FILL),
            table if table == owner => is_plain,
            _ => true,
        })
        .map(|(publication, table)| format!("{publication} has {table}"))
        .collect();
    if !leaks.is_empty() {
        return Ok(Verdict::warn(
            some(&leaks),
            "take it out (alter publication … drop table …), or list the columns to publish",
        ));
    }
    let is_heard =
        found.iter().any(|(name, table)| name == "supabase_realtime" && table == "public.business_secrets");
    if examined.has(RPC) && !is_heard && server::has_realtime(&mut examined.connection).await? {
        return Ok(Verdict::warn(
            "supabase_realtime lacks business_secrets: browsers do not hear of changes",
            "alter publication supabase_realtime add table public.business_secrets",
        ));
    }
    Ok(Verdict::ok("nothing but references is published"))
}
