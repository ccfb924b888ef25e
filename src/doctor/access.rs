//! Row Level Security, policies, functions, grants.

use std::collections::BTreeSet;

use super::{Examined, Report, Verdict, shipped, some};
use crate::admin::RPC;
use crate::error::Result;
use crate::queries::AdminFault;
use crate::queries::access::{self, Function, Policy, SHIPPED_GRANTS};

const REAPPLY: &str = "see what was changed and why; then `app-secrets migrate --reapply` puts ours back";

pub(super) async fn all(report: &mut Report, examined: &mut Examined) {
    report.add(
        "access.rls",
        "Row Level Security is all that stands between one user's token and another business's row.",
        row_security(examined).await,
    );
    if examined.has(RPC) {
        report.add(
            "access.policies",
            "Policies add up: one that is too wide opens the table, whatever the others say.",
            access::policies(&mut examined.connection)
                .await
                .map(|found| policies(&found))
                .map_err(Into::into),
        );
    }
    report.add(
        "access.functions",
        "These functions see plaintext with their owner's rights: their text, owner, search_path and who may execute \
         them decide who else does.",
        functions(examined).await,
    );
    if examined.has(RPC) {
        report.add(
            "access.generated",
            "Functions, view, triggers and CHECKs are made from the catalogue: what stands otherwise serves other names, or other people.",
            generated(examined).await,
        );
        report.add(
            "access.grants",
            "A privilege that we did not give is a way in that nobody looks at.",
            access::grants(&mut examined.connection).await.map(|found| grants(&found)).map_err(Into::into),
        );
    }
    report.add(
        "access.defaults",
        "Default privileges open what the next migration makes, before anybody revokes it.",
        defaults(examined).await,
    );
    report.add(
        "access.data-api",
        "What PostgREST serves, the whole internet may ask for.",
        data_api(examined).await,
    );
}

async fn row_security(examined: &mut Examined) -> Result<Verdict> {
    let tables = access::row_security(&mut examined.connection).await?;
    let open: Vec<String> =
        tables.iter().filter(|(_, is_on)| !is_on).map(|(table, _)| table.clone()).collect();
    if !open.is_empty() {
        return Ok(Verdict::fail(
            format!("off on {}", some(&open)),
            format!("alter table {} enable row level security", open[0]),
        ));
    }
    let owners = access::co_owners(&mut examined.connection).await?;
    if !owners.is_empty() {
        return Ok(Verdict::fail(
            format!("not forced; these own the table through a role, past every policy: {}", some(&owners)),
            format!("revoke the table's owner from {}", owners[0]),
        ));
    }
    Ok(Verdict::ok(format!("on, on {} tables; nobody but the owner passes it by", tables.len())))
}

fn policies(found: &[Policy]) -> Verdict {
    let is_shipped = |policy: &&Policy| {
        shipped::POLICIES.iter().any(|own| {
            (own.name, own.command, own.role, own.using, own.check)
                == (&policy.name, &policy.command, &policy.roles, &policy.using, &policy.check)
                && policy.is_permissive
        })
    };
    let others: Vec<String> = found
        .iter()
        // A restrictive one of the app's only narrows, and stays.
        .filter(|policy| policy.is_permissive && !is_shipped(policy))
        .map(|policy| {
            let is_ours = shipped::POLICIES.iter().any(|own| own.name == policy.name);
            format!("{} is {}", policy.name, if is_ours { "altered" } else { "not ours" })
        })
        .collect();
    let missing = shipped::POLICIES.iter().filter(|own| !found.iter().any(|policy| policy.name == own.name));
    let wrong: Vec<String> =
        others.into_iter().chain(missing.map(|own| format!("{} is missing", own.name))).collect();
    if wrong.is_empty() {
        let own = found.iter().filter(|policy| !policy.is_permissive).count();
        let more = if own == 0 { String::new() } else { format!("; {own} of the app's that narrow them") };
        return Verdict::ok(format!("the five that were shipped, unaltered{more}"));
    }
    Verdict::fail(
        some(&wrong),
        "change who may access a business in app_secrets.accessible_business_ids(), not here; `app-secrets migrate \
         --reapply` puts the policies back",
    )
}

async fn functions(examined: &mut Examined) -> Result<Verdict> {
    let found = access::functions(&mut examined.connection).await?;
    Ok(judge_functions(&found, |version| examined.applied.iter().any(|entry| entry.version == version)))
}

fn judge_functions(found: &[Function], is_applied: impl Fn(i32) -> bool) -> Verdict {
    let shipped = shipped::functions(|_| true);
    // What 005 made stays after a rollback, and may stay.
    let due = shipped::functions(is_applied);
    let mut wrong = Vec::new();
    let mut is_customised = false;
    for function in found {
        let name = &function.name;
        let Some(own) = shipped.get(name) else {
            wrong.push(format!("{name} is not ours"));
            continue;
        };
        // Without a body of the files' it is made from the catalogue, which access.generated looks at.
        let is_custom = own.body.as_ref().is_some_and(|body| *body != function.body);
        let is_apps = name == shipped::CUSTOMISABLE || name == shipped::RUNS_AS_THE_APP;
        is_customised |= name == shipped::CUSTOMISABLE && !function.body.contains("(select auth.uid())");
        let grantees: BTreeSet<&String> = function.grantees.iter().collect();
        let given = due.get(name).map_or(&own.grantees, |due| &due.grantees);
        let mut faults = Vec::new();
        if is_custom {
            faults.push("is altered");
        }
        if !function.is_owners {
            faults.push("has another owner");
        }
        match function.search_path.as_deref() {
            None => faults.push("has no search_path of its own"),
            Some(path) if path != shipped::PATH && !is_apps => faults.push("has another search_path"),
            Some(_) => {}
        }
        if own.body.is_some() && function.is_definer != own.is_definer {
            faults.push(if own.is_definer { "is not security definer" } else { "is security definer" });
        }
        if grantees.iter().any(|role| !given.contains(*role)) {
            faults.push("may be executed by others");
        }
        if given.iter().any(|role| !grantees.contains(role)) {
            faults.push("may not be executed by whom it is for");
        }
        if !faults.is_empty() {
            wrong.push(format!("{name} {}", faults.join(" and ")));
        }
    }
    let missing = due.keys().filter(|name| !found.iter().any(|function| function.name == **name));
    wrong.extend(missing.map(|name| format!("{name} is missing")));
    if !wrong.is_empty() {
        return Verdict::fail(some(&wrong), REAPPLY);
    }
    let own = if is_customised { "; accessible_business_ids() is the app's own" } else { "" };
    Verdict::ok(format!("{} functions, as they were shipped{own}", found.len()))
}

fn grants(found: &[String]) -> Verdict {
    let extra: Vec<String> =
        found.iter().filter(|grant| !SHIPPED_GRANTS.contains(&grant.as_str())).cloned().collect();
    let missing: Vec<String> = SHIPPED_GRANTS
        .iter()
        .filter(|own| !found.iter().any(|grant| grant == *own))
        .map(|own| (*own).to_owned())
        .collect();
    if !extra.is_empty() {
        return Verdict::fail(
            format!("given besides ours: {}", some(&extra)),
            "`app-secrets migrate --reapply` takes it away, as after a restore; then look who may have used it",
        );
    }
    if !missing.is_empty() {
        return Verdict::warn(
            format!("taken away: {}", some(&missing)),
            "`app-secrets migrate --reapply` gives it back",
        );
    }
    Verdict::ok("what was shipped, and nothing else")
}

async fn generated(examined: &mut Examined) -> Result<Verdict> {
    let found = match access::stale(&mut examined.connection).await {
        Ok(found) => found,
        Err(AdminFault::Busy) => {
            return Ok(Verdict::warn(
                "not looked at: a migration is at work",
                "run this again when it has ended",
            ));
        }
        Err(fault) => return Err(fault.into()),
    };
    if found.is_empty() {
        return Ok(Verdict::ok("as the catalogue would have them made now"));
    }
    let found: Vec<String> = found.iter().map(|(object, problem)| format!("{object} {problem}")).collect();
    Ok(Verdict::fail(some(&found), REAPPLY))
}

async fn defaults(examined: &mut Examined) -> Result<Verdict> {
    let found = access::default_privileges(&mut examined.connection).await?;
    if found.is_empty() {
        return Ok(Verdict::ok("none in app_secrets"));
    }
    Ok(Verdict::fail(
        format!("in app_secrets {}", some(&found)),
        "alter default privileges in schema app_secrets revoke …, and look at what was made meanwhile",
    ))
}

async fn data_api(examined: &mut Examined) -> Result<Verdict> {
    let api = access::data_api(&mut examined.connection).await?;
    let schemas: Vec<&str> = api.schemas.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let exposed: Vec<String> = schemas
        .iter()
        .filter(|schema| matches!(schema.trim_matches('"'), "app_secrets" | "vault"))
        .map(|schema| (*schema).to_owned())
        .collect();
    if !exposed.is_empty() {
        return Ok(Verdict::fail(
            format!("it serves {}", some(&exposed)),
            "take it out of the exposed schemas (Supabase: Project Settings, Data API)",
        ));
    }
    Ok(Verdict::ok(if api.opens_new_tables {
        "new tables are open to anon by default, as before 2026; ours have grants of their own"
    } else {
        "new tables are closed by default, as since 2026"
    }))
}
