//! What the migration files make, read out of their own text: so the doctor compares a database with what we ship and
//! not with a second list of it. What is made from the catalogue, the database itself compares.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::FILES;

/// A function as it is shipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Function {
    /// What stands between its dollar quotes; `None` where the database makes it from its catalogue.
    pub(super) body: Option<String>,
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
/// Runs under the path that the app's triggers are used to.
pub(super) const RUNS_AS_THE_APP: &str = "app_secrets.restore_businesses";
/// The path of all others: the temporary schema last.
pub(super) const PATH: &str = "pg_catalog, pg_temp";

const MINE: &str = "(business_idIN(SELECTapp_secrets.current_business_ids()AScurrent_business_ids))";

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

/// The functions of the files that are applied, by qualified name.
pub(super) fn functions(is_applied: impl Fn(i32) -> bool) -> BTreeMap<String, Function> {
    let mut found: BTreeMap<String, Function> = BTreeMap::new();
    for file in FILES.iter().filter(|file| is_applied(file.version)) {
        for name in generated(file.sql) {
            found.entry(name).or_default();
        }
        for (name, body, is_definer) in definitions(file.sql) {
            let function = found.entry(name.clone()).or_default();
            (function.body, function.is_definer) = (Some(body), is_definer);
            if file.sql.contains(&format!("comment on function {name}(")) {
                function.grantees.extend(["app_secrets_service".to_owned(), "service_role".to_owned()]);
            }
        }
        for (name, roles) in grants(file.sql) {
            found.entry(name).or_default().grantees.extend(roles);
        }
    }
    found
}

/// Name, body and whether it is `security definer`, of each `create function` that is a statement of the file.
fn definitions(sql: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for start in ["\ncreate or replace function ", "\ncreate function "] {
        for rest in sql.split(start).skip(1) {
            let Some((name, _)) = rest.split_once('(') else { continue };
            let Some((head, tail)) = rest.split_once("\nas $") else { continue };
            let Some((tag, tail)) = tail.split_once('$') else { continue };
            if let Some((body, _)) = tail.split_once(&format!("${tag}$")) {
                found.push((name.to_owned(), body.to_owned(), head.contains("security definer")));
            }
        }
    }
    found
}

/// Names of functions that statements make when they run.
fn generated(sql: &str) -> Vec<String> {
    ["make_function(", "create or replace function ", "create function "]
        .iter()
        .flat_map(|start| sql.split(start).skip(1))
        .filter_map(|rest| rest.trim_start().trim_start_matches('\'').split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("app_secrets.") && !name.contains(char::is_whitespace))
        .map(ToOwned::to_owned)
        .collect()
}

/// Name and grantees, of each `grant execute on function`.
fn grants(sql: &str) -> Vec<(String, Vec<String>)> {
    let statements = sql.split("grant execute on function ").skip(1);
    statements
        .filter_map(|statement| statement.split(';').next()?.split_once(" to "))
        .flat_map(|(functions, roles)| {
            let roles: Vec<String> = roles.split(',').map(|role| role.trim().to_owned()).collect();
            let names = functions.split("app_secrets.").skip(1).filter_map(|rest| rest.split('(').next());
            names.map(|name| (format!("app_secrets.{name}"), roles.clone())).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queries::access::SHIPPED_GRANTS;

    #[test]
    fn every_function_of_the_files_is_found_with_its_body_and_grants() {
        let all = functions(|_| true);
        let created: BTreeSet<&str> = FILES
            .iter()
            .flat_map(|file| file.sql.lines())
            .filter_map(|line| {
                let rest = line
                    .strip_prefix("create or replace function ")
                    .or_else(|| line.strip_prefix("create function "))?;
                rest.split('(').next()
            })
            .collect();
        for name in &created {
            let body = all[*name].body.as_deref().unwrap_or_default();
            assert!(body.contains("end"), "{name}");
        }
        for name in
            ["read_cells", "write_cells", "verify_legacy", "restore_businesses", "accessible_business_ids"]
        {
            assert!(all.contains_key(&format!("app_secrets.{name}")), "{name}");
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
        assert_eq!(sql.matches("create policy business_secrets_").count(), POLICIES.len());
        let granted: BTreeSet<String> = sql
            .lines()
            .filter_map(|line| {
                line.trim().strip_prefix("grant ")?.strip_suffix(';')?.split_once(" on public.")
            })
            .flat_map(|(privileges, rest)| {
                let (table, roles) = rest.split_once(" to ").unwrap_or_default();
                privileges.split(", ").flat_map(move |privilege| {
                    roles
                        .split(", ")
                        .map(move |role| format!("public.{table}: {role} {}", privilege.to_uppercase()))
                })
            })
            .collect();
        assert_eq!(granted, SHIPPED_GRANTS.iter().map(|grant| (*grant).to_owned()).collect());
    }
}
