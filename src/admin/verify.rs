//! The proof that nothing was lost: row by row and value by value, inside the database.

use std::pin::pin;

use serde_json::{Value, json};

use super::Admin;
use super::apply::check_sessions;
use super::event::Control;
use super::files::{FILL, RPC};
use super::sweep::Sessions;
use crate::error::{Error, Result};
use crate::queries::backfill;
use crate::queries::catalogue::{self, Catalogue};
use crate::queries::ledger::{self, Applied};
use crate::queries::proof::{self, ColumnProof, Finding, FixedOrphans, LegacyWrites, Recorded};
use crate::queries::session;
use crate::timestamp::Timestamp;

/// What a verification found. Counts and ids only.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The plaintext columns against Vault; `None` where there are none.
    pub columns: Option<Vec<ColumnProof>>,
    /// References without a Vault row of their own.
    pub dangling: Finding,
    /// Values that Vault cannot open.
    pub undecryptable: Finding,
    /// Cells that hold something other than a reference.
    pub unsealed: Finding,
    /// Vault rows of ours that no cell refers to.
    pub orphans: Finding,
    /// Vault rows under names like ours that are not ours. They are left alone, whatever is asked.
    pub strangers: Finding,
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

    /// As the command line and JavaScript give it.
    pub fn to_json(&self) -> Value {
        json!({
            "verified": self.is_sound(),
            "mismatched": self.mismatched(),
            "columns": self.columns,
            "dangling": self.dangling,
            "undecryptable": self.undecryptable,
            "unsealed": self.unsealed,
            "orphans": self.orphans,
            "notOurs": self.strangers,
            "idleTriggers": self.idle_triggers,
            "legacyWrites": self.legacy_writes,
        })
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

    fn recorded(&self) -> Recorded {
        Recorded {
            at: Timestamp(0),
            mismatched: self.mismatched(),
            dangling: self.dangling.count,
            undecryptable: self.undecryptable.count,
            unsealed: self.unsealed.count,
            orphans: self.orphans.count,
            is_proof: self.is_proof(),
        }
    }
}

/// Triggers that must be there at a state of ledger and catalogue: relation, name.
pub(crate) fn triggers(applied: &[Applied], catalogue: &Catalogue) -> Vec<(String, &'static str)> {
    let has = |version| applied.iter().any(|entry| entry.version == version);
    let owner = catalogue.owner_table.as_str();
    let sealed = "public.business_secrets";
    let mut triggers = vec![
        (sealed, "zz_app_secrets_seal"),
        (sealed, "zz_app_secrets_reap"),
        (sealed, "zz_app_secrets_reap_insert"),
        (sealed, "zz_app_secrets_reap_all"),
        (owner, "zz_app_secrets_reap"),
    ];
    if has(RPC) {
        triggers.extend([
            ("public.business_secret_status", "aa_app_secrets_begin"),
            ("public.business_secret_status", "bb_app_secrets_write"),
            ("public.business_secret_status", "cc_app_secrets_end"),
        ]);
    }
    if catalogue.synced().next().is_some() {
        triggers.extend([
            (sealed, "aa_app_secrets_lock"),
            (sealed, "zz_app_secrets_sync"),
            (sealed, "zz_app_secrets_sync_all"),
            (owner, "zz_app_secrets_sync"),
            (owner, "zz_app_secrets_sync_update"),
        ]);
    }
    triggers.into_iter().map(|(relation, name)| (relation.to_owned(), name)).collect()
}

impl Admin {
    /// Compares every plaintext value with what Vault decrypts to, and every reference with its Vault row. What it finds
    /// is recorded, so that [`status`](Self::status) can show it. Works in that many sessions, 1 to 32, which share one
    /// snapshot. `None` where it was told to stop: then it has found nothing, and recorded nothing.
    pub async fn verify(&self, sessions: u32, control: &Control) -> Result<Option<Verification>> {
        check_sessions(sessions)?;
        let first = self.look().await?;
        let mut sessions = Sessions::begin(self, first, sessions - 1, control).await?;
        let pids = sessions.pids();
        let outcome = {
            let mut work = pin!(compare(&mut sessions, control));
            tokio::select! {
                outcome = &mut work => outcome,
                () = control.stopped() => {
                    // Where that fails the statements end by themselves, and soon.
                    let _ = self.cancel(&pids).await;
                    work.await
                }
            }
        };
        if control.is_stopped() {
            return Ok(None);
        }
        let found = outcome?;
        let connection = &mut sessions.first;
        session::end_snapshot(connection).await?;
        // In the middle of a rollback the two sides differ, which it makes good itself and says nothing of afterwards.
        if !backfill::is_restoring(connection).await? {
            // A standby cannot keep it, and proves as much.
            let _ = proof::record(connection, &found.recorded()).await;
        }
        Ok(Some(found))
    }

    /// Of the rows of Vault that are ours and that no cell refers to: removes what nothing wants and, with `put_back`, lets
    /// cells that a restore has lost refer to theirs again, so that whoever may access the business now reads them; one
    /// business after the other, under its lock. Rows that only look like ours stay.
    pub async fn fix_orphans(&self, put_back: bool) -> Result<FixedOrphans> {
        const AT_ONCE: i64 = 1_000;
        let mut connection = self.look().await?;
        if !ledger::applied(&mut connection).await?.iter().any(|entry| entry.version == FILL) {
            return Err(Error::NotMigrated { found: "003 is not applied".into() });
        }
        let mut fixed = FixedOrphans::default();
        let mut after = None;
        loop {
            let businesses = proof::orphaned(&mut connection, after, AT_ONCE).await?;
            let Some(last) = businesses.last() else {
                return Ok(fixed);
            };
            after = Some(*last);
            for business in businesses {
                let now = proof::fix_orphans(&mut connection, business, put_back).await?;
                fixed.put_back += now.put_back;
                fixed.removed += now.removed;
            }
        }
    }
}

/// Everything that a verification looks at, in the sessions' snapshot.
async fn compare(sessions: &mut Sessions, control: &Control) -> Result<Verification> {
    let applied = ledger::applied(&mut sessions.first).await?;
    let catalogue = catalogue::read(&mut sessions.first).await?;
    let Some(catalogue) = catalogue.filter(|_| applied.iter().any(|entry| entry.version == FILL)) else {
        let found =
            applied.last().map_or_else(|| "nothing is applied".into(), |last| format!("{:03}", last.version));
        return Err(Error::NotMigrated { found });
    };
    let swept = sessions.sweep(&catalogue, control).await?;
    let connection = &mut sessions.first;
    let idle = proof::idle_triggers(connection, &triggers(&applied, &catalogue)).await?;
    let said = |(name, exists): (String, bool)| {
        format!("{name} {}", if exists { "is disabled" } else { "is missing" })
    };
    Ok(Verification {
        columns: catalogue.synced().next().map(|_| swept.columns),
        dangling: swept.faults.dangling,
        undecryptable: swept.faults.undecryptable,
        unsealed: swept.faults.unsealed,
        orphans: proof::orphans(connection).await?,
        strangers: proof::strangers(connection).await?,
        idle_triggers: idle.into_iter().map(said).collect(),
        legacy_writes: proof::legacy_writes(connection).await?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin::FILES;
    use crate::queries::catalogue::SecretState;
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

    fn catalogue(legacy_state: &str) -> Catalogue {
        let name = SecretState {
            name: "a".into(),
            label: "A".into(),
            sealed: true,
            kind: "text".into(),
            legacy_column: Some("a".into()),
            legacy_state: legacy_state.into(),
            in_place: "none".into(),
            is_retired: false,
        };
        Catalogue {
            names: vec![name],
            owner_table: "public.businesses".into(),
            owner_key: "id".into(),
            owner_name: Some("businesses".into()),
        }
    }

    #[test]
    fn every_trigger_of_the_files_is_looked_for() {
        let shipped: BTreeSet<&str> = FILES
            .iter()
            .flat_map(|file| file.sql.split("create or replace trigger ").skip(1))
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        let expected: BTreeSet<&str> =
            triggers(&applied(&[2, 3, 4]), &catalogue("filled")).into_iter().map(|(_, name)| name).collect();
        assert_eq!(expected, shipped);
    }

    #[test]
    fn the_sync_is_looked_for_while_a_name_has_both_places() {
        let names = |versions: &[i32], state| triggers(&applied(versions), &catalogue(state));
        assert!(names(&[2], "synced").len() < names(&[2, 3, 4], "filled").len());
        assert!(names(&[2, 3, 4, 5], "dropped").iter().all(|(_, name)| !name.contains("sync")));
        assert!(names(&[2, 3, 4, 5], "synced").iter().any(|(_, name)| name.contains("sync")));
    }
}
