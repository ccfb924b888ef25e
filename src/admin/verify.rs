//! The proof that nothing was lost: row by row and value by value, inside the database.

use super::Admin;
use super::files::{CONTRACT, LAST_BEFORE_CONTRACT};
use crate::error::{Error, Result};
use crate::queries::ledger::{self, Applied};
use crate::queries::proof::{self, ColumnProof, Finding, LegacyWrites};

/// What a verification found. Counts and ids only.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The plaintext columns against Vault; `None` once they are dropped.
    pub columns: Option<Vec<ColumnProof>>,
    /// References without a Vault row of their own.
    pub dangling: Finding,
    /// Values that Vault cannot open.
    pub undecryptable: Finding,
    /// Cells that hold something other than a reference.
    pub unsealed: Finding,
    /// Vault rows that no cell refers to.
    pub orphans: Finding,
    /// Triggers of ours that are missing or disabled, so that writes pass by them.
    pub idle_triggers: Vec<String>,
    /// Who still wrote the plaintext columns after the backfill: it was carried over, and shows code that has to move.
    pub legacy_writes: LegacyWrites,
}

impl Verification {
    /// Values that differ between the two sides.
    pub fn mismatched(&self) -> i64 {
        self.columns.iter().flatten().map(|column| column.mismatched).sum()
    }

    /// Whether every value is in Vault, can be read there, and will be from now on.
    pub fn is_proof(&self) -> bool {
        let broken = self.mismatched() + self.dangling.count + self.undecryptable.count + self.unsealed.count;
        broken == 0 && self.idle_triggers.is_empty()
    }

    /// Whether there is nothing at all to mend.
    pub fn is_sound(&self) -> bool {
        self.is_proof() && self.orphans.count == 0
    }

    /// What is wrong, in a line.
    pub fn summary(&self) -> String {
        let counts = [
            (self.mismatched(), "values that differ from their plaintext"),
            (self.dangling.count, "dangling references"),
            (self.undecryptable.count, "values that do not decrypt"),
            (self.unsealed.count, "cells that are not sealed"),
            (self.orphans.count, "orphans in Vault"),
        ];
        let mut parts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what}: {count}"))
            .collect();
        parts.extend(self.idle_triggers.iter().map(|trigger| format!("trigger {trigger}")));
        parts.join(", ")
    }
}

/// Triggers that must be there at a version of the ledger: relation, name.
pub(crate) fn triggers(applied: &[Applied]) -> Vec<(&'static str, &'static str)> {
    let has = |version| applied.iter().any(|entry| entry.version == version);
    let mut triggers = vec![
        ("public.business_secrets", "zz_app_secrets_seal"),
        ("public.business_secrets", "zz_app_secrets_reap"),
        ("public.business_secrets", "zz_app_secrets_reap_all"),
    ];
    if has(LAST_BEFORE_CONTRACT) {
        triggers.extend([
            ("public.business_secrets", "zz_app_secrets_notify_all"),
            ("app_secrets.secret_versions", "app_secrets_notify_insert"),
            ("app_secrets.secret_versions", "app_secrets_notify_update"),
            ("app_secrets.secret_versions", "app_secrets_notify_delete"),
        ]);
    }
    if !has(CONTRACT) {
        triggers.extend([
            ("public.business_secrets", "aa_app_secrets_lock"),
            ("public.business_secrets", "zz_app_secrets_sync"),
            ("public.business_secrets", "zz_app_secrets_sync_all"),
            ("public.businesses", "aa_app_secrets_lock"),
            ("public.businesses", "zz_app_secrets_sync"),
            ("public.businesses", "zz_app_secrets_sync_update"),
        ]);
    }
    triggers
}

impl Admin {
    /// Compares every plaintext value with what Vault decrypts to, and every reference with its Vault row.
    pub async fn verify(&self) -> Result<Verification> {
        let mut connection = self.look().await?;
        let connection = &mut connection;
        let applied = ledger::applied(connection).await?;
        if !applied.iter().any(|entry| entry.version == 3) {
            let found = applied
                .last()
                .map_or_else(|| "nothing is applied".into(), |last| format!("{:03}", last.version));
            return Err(Error::NotMigrated { found });
        }
        let columns = ledger::legacy_columns(connection).await?.unwrap_or_default();
        let columns = match columns.len() {
            super::LEGACY_COLUMNS => Some(proof::columns(connection).await?),
            _ => None,
        };
        let cells = proof::cell_faults(connection).await?;
        let idle = proof::idle_triggers(connection, &triggers(&applied)).await?;
        let said = |(name, exists): (String, bool)| {
            format!("{name} {}", if exists { "is disabled" } else { "is missing" })
        };
        Ok(Verification {
            columns,
            dangling: cells.dangling,
            undecryptable: cells.undecryptable,
            unsealed: cells.unsealed,
            orphans: proof::orphans(connection).await?,
            idle_triggers: idle.into_iter().map(said).collect(),
            legacy_writes: proof::legacy_writes(connection).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::FILES;
    use crate::timestamp::Timestamp;

    fn applied(versions: &[i32]) -> Vec<Applied> {
        let entry = |version: &i32| Applied {
            version: *version,
            name: String::new(),
            checksum: None,
            at: Timestamp(0),
            by: String::new(),
        };
        versions.iter().map(entry).collect()
    }

    #[test]
    fn every_trigger_of_the_files_is_looked_for() {
        let shipped: BTreeSet<&str> = FILES
            .iter()
            .flat_map(|file| file.sql.split("create or replace trigger ").skip(1))
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        let expected: BTreeSet<&str> =
            triggers(&applied(&[2, 3, 4])).into_iter().map(|(_, name)| name).collect();
        assert_eq!(expected, shipped);
    }

    #[test]
    fn the_sync_is_not_looked_for_once_it_is_removed() {
        let names = |versions: &[i32]| triggers(&applied(versions)).len();
        assert!(names(&[2]) < names(&[2, 3, 4]));
        assert!(triggers(&applied(&[2, 3, 4, 5])).iter().all(|(_, name)| !name.contains("sync")));
    }
}
