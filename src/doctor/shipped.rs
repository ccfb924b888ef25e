//! What the migration files make, read out of their own text: so the doctor compares a database with what we ship and
//! not with a second list of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::FILES;

/// A function as it is shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// What stands between its dollar quotes.
    pub(super) body: String,
    pub(super) is_definer: bool,
    /// Who may execute it besides its owner.
    pub(super) grantees: BTreeSet<String>,
}

/// A policy as it is shipped, and as the server prints it, without white space.
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) command: &'static str,
    pub(super) role: &'static str,
    pub(super) using: &'static str,
    pub(super) check: &'static str,
}

/// Whose body belongs to the app: it decides who may access a business.
pub(super) const CUSTOMISABLE: &str = "app_secrets.accessible_business_ids";

const MINE: &str = "(business_idIN(SELECTapp_secrets.accessible_business_ids()ASaccessible_business_ids))";

pub(super) const POLICIES: [Policy; 5] = [
    Policy { name: "business_secrets_delete", command: "d", role: "authenticated", using: MINE, check: "" },
    Policy { name: "business_secrets_insert", command: "a", role: "authenticated", using: "", check: MINE },
    Policy { name: "business_secrets_select", command: "r", role: "authenticated", using: MINE, check: "" },
    Policy {
        name: "business_secrets_service",
        command: "*",
        role: "service_role",
        using: "true",
        check: "true",
    },
    Policy { name: "business_secrets_update", command: "w", role: "authenticated", using: MINE, check: MINE },
];

/// Privileges on relations besides their owner's, as `relation: role privilege`, once 004 is applied.
pub(super) const GRANTS: [&str; 10] = [
    "public.business_secrets: authenticated DELETE",
    "public.business_secrets: authenticated INSERT",
    "public.business_secrets: authenticated SELECT",
    "public.business_secrets: authenticated UPDATE",
    "public.business_secrets: service_role DELETE",
    "public.business_secrets: service_role INSERT",
    "public.business_secrets: service_role SELECT",
    "public.business_secrets: service_role UPDATE",
    "public.decrypted_business_secrets: authenticated SELECT",
    "public.decrypted_business_secrets: service_role SELECT",
];

/// The functions of the files that are applied, by qualified name.
pub(super) fn functions(is_applied: impl Fn(i32) -> bool) -> BTreeMap<String, Function> {
    let mut found: BTreeMap<String, Function> = BTreeMap::new();
    for file in FILES.iter().filter(|file| is_applied(file.version)) {
        for (name, body, is_definer) in definitions(file.sql) {
            let function = found.entry(name).or_default();
            (function.body, function.is_definer) = (body, is_definer);
        }
        for (name, roles) in grants(file.sql) {
            found.entry(name).or_default().grantees.extend(roles);
        }
    }
    found
}

/// Name, body and whether it is `security definer`, of each `create function`.
fn definitions(sql: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(at) = rest.find("create ") {
        rest = &rest[at + "create ".len()..];
        let Some(head) = rest.strip_prefix("or replace function ").or_else(|| rest.strip_prefix("function "))
        else {
            continue;
        };
        let (Some(name), Some((head, body))) = (head.split('(').next(), head.split_once("as $$")) else {
            continue;
        };
        if let Some((body, after)) = body.split_once("$$") {
            found.push((name.to_owned(), body.to_owned(), head.contains("security definer")));
            rest = after;
        }
    }
    found
}

/// Name and grantees, of each `grant execute on function`.
fn grants(sql: &str) -> Vec<(String, Vec<String>)> {
    let statements = sql.split("grant execute on function ").skip(1);
    statements
        .filter_map(|statement| {
            let (functions, roles) = statement.split(';').next()?.split_once(" to ")?;
            let name = functions.split('(').next()?.trim();
            Some((name.to_owned(), roles.split(',').map(|role| role.trim().to_owned()).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_files_is_found_with_its_body_and_grants() {
        let all = functions(|_| true);
        let created: usize = FILES
            .iter()
            .flat_map(|file| file.sql.lines())
            .filter(|line| {
                let line = line.trim_start();
                line.starts_with("create or replace function ") || line.starts_with("create function ")
            })
            .count();
        assert_eq!(all.len(), created);
        for (name, function) in &all {
            assert!(name.starts_with("app_secrets.") || name.starts_with("public."), "{name}");
            assert!(function.body.contains("end"), "{name}");
        }
        let batch = &all["public.get_business_secrets_batch"];
        assert!(batch.is_definer);
        assert_eq!(batch.grantees.iter().collect::<Vec<_>>(), ["app_secrets_service", "service_role"]);
        assert!(all["app_secrets.seal"].grantees.is_empty());
        assert!(!all["app_secrets.normalize"].is_definer);
    }

    #[test]
    fn what_is_not_applied_is_not_expected() {
        let early = functions(|version| version == 2);
        assert!(!early.contains_key("public.get_business_secrets"));
        assert_eq!(early["app_secrets.reveal"].grantees.iter().collect::<Vec<_>>(), ["service_role"]);
    }

    #[test]
    fn the_policies_and_grants_are_those_of_004() {
        let sql = FILES[2].sql;
        for policy in &POLICIES {
            assert!(sql.contains(&format!("create policy {} on public.business_secrets", policy.name)));
        }
        assert_eq!(sql.matches("create policy ").count(), POLICIES.len());
        assert!(sql.contains(
            "grant select, insert, update, delete on public.business_secrets to authenticated, service_role;"
        ));
        assert!(
            sql.contains("grant select on public.decrypted_business_secrets to authenticated, service_role;")
        );
    }
}
