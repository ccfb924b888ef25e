//! The migration files, as they were when this was built: their text, their steps, their checksums.

use sha2::{Digest, Sha256};

/// One file of `migrations/`.
#[derive(Debug)]
pub struct File {
    /// Its number, which the ledger goes by.
    pub version: i32,
    /// Its name without number and ending, as the ledger has it.
    pub name: &'static str,
    /// What it does, in a few words.
    pub title: &'static str,
    /// All of it.
    pub sql: &'static str,
}

/// What is sent on its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One transaction, from `begin;` to `commit;`.
    Transaction(&'static str),
    /// The loop over `backfill_batch`, which we run ourselves: it shows how far it is, and can be stopped.
    Backfill,
}

/// The file that fills and proves. It is sent again for names that come later.
pub(crate) const FILL: i32 = 3;
/// The file that makes policies and RPC: from here on services can work.
pub const RPC: i32 = 4;

/// Every file, in order.
pub static FILES: [File; 4] = [
    File {
        version: 2,
        name: "expand_business_secrets",
        title: "sealed columns, and a two-way sync with the plaintext ones",
        sql: include_str!("../../migrations/002_expand_business_secrets.sql"),
    },
    File {
        version: 3,
        name: "migrate_data_and_encrypt",
        title: "backfill into Vault, and its proof",
        sql: include_str!("../../migrations/003_migrate_data_and_encrypt.sql"),
    },
    File {
        version: 4,
        name: "rls_and_rpc",
        title: "policies, grants and RPC",
        sql: include_str!("../../migrations/004_rls_and_rpc.sql"),
    },
    File {
        version: 5,
        name: "drop_columns",
        title: "drops the plaintext columns",
        sql: include_str!("../../migrations/005_drop_columns.sql"),
    },
];

impl File {
    /// The file of that number.
    pub fn of_version(version: i32) -> Option<&'static Self> {
        FILES.iter().find(|file| file.version == version)
    }

    /// Whether it takes something away for good, which its first line says. Such a file is never applied but by a
    /// command of its own, with a confirmation.
    pub fn is_contracting(&self) -> bool {
        self.sql.lines().next() != Some("-- app-secrets: expand")
    }

    /// The last file that only adds.
    pub fn last_expanding() -> i32 {
        FILES.iter().filter(|file| !file.is_contracting()).map(|file| file.version).max().unwrap_or_default()
    }

    /// As it is called in `migrations/`.
    pub fn file_name(&self) -> String {
        format!("{:03}_{}.sql", self.version, self.name)
    }

    /// SHA-256 of the text, in hex.
    pub fn checksum(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.sql).iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The file is a row of transactions, with the backfill between two of them.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut start = None;
        let mut position = 0;
        for line in self.sql.split_inclusive('\n') {
            let end = position + line.len();
            match line.trim_end() {
                "begin;" if start.is_none() => start = Some(position),
                "commit;" => {
                    if let Some(start) = start.take() {
                        steps.push(Step::Transaction(&self.sql[start..end]));
                    }
                }
                "do $backfill$" => steps.push(Step::Backfill),
                _ => {}
            }
            position = end;
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without comments, blank lines and the backfill.
    fn code(sql: &str) -> Vec<&str> {
        let mut in_backfill = false;
        sql.lines()
            .filter(|line| {
                in_backfill |= *line == "do $backfill$";
                let outside = !in_backfill;
                in_backfill &= *line != "end $backfill$;";
                outside && !line.trim().is_empty() && !line.trim_start().starts_with("--")
            })
            .collect()
    }

    #[test]
    fn the_steps_of_a_file_are_all_of_it() {
        for file in &FILES {
            let sent: Vec<&str> = file
                .steps()
                .into_iter()
                .flat_map(|step| match step {
                    Step::Transaction(sql) => code(sql),
                    Step::Backfill => Vec::new(),
                })
                .collect();
            assert_eq!(sent, code(file.sql), "{}", file.file_name());
        }
    }

    #[test]
    fn only_003_has_a_backfill_and_it_stands_between_two_transactions() {
        for file in &FILES {
            let kinds: Vec<bool> = file.steps().iter().map(|step| *step == Step::Backfill).collect();
            let expected: &[bool] = if file.version == 3 { &[false, true, false] } else { &[false] };
            assert_eq!(kinds, expected, "{}", file.file_name());
        }
    }

    #[test]
    fn every_file_says_in_its_first_line_what_it_does() {
        for file in &FILES {
            let first = file.sql.lines().next().unwrap_or_default();
            assert!(
                matches!(first, "-- app-secrets: expand" | "-- app-secrets: contract"),
                "{}: {first}",
                file.file_name()
            );
        }
        let contracting: Vec<i32> =
            FILES.iter().filter(|file| file.is_contracting()).map(|file| file.version).collect();
        assert_eq!((contracting, File::last_expanding()), (vec![5], 4));
    }

    #[test]
    fn files_are_those_of_the_folder() {
        for file in &FILES {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/").to_owned() + &file.file_name();
            assert_eq!(std::fs::read_to_string(path).unwrap(), file.sql);
        }
    }

    #[test]
    fn a_checksum_is_that_of_sha256sum() {
        let file = File { version: 0, name: "empty", title: "", sql: "" };
        assert_eq!(file.checksum(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
