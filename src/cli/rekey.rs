//! `rekey`: carries every secret over to another root key of Vault.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand")]

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::args::Locks;
use super::exit::Exit;
use super::show::plural;
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub(crate) enum Rekey {
    /// Wrap every value under a one-time key that only your file holds
    ///
    /// May be run while the app works. With --freeze it wraps what has changed meanwhile, and from then on sealed cells refuse
    /// writes as UNAVAILABLE until `rekey finish` or `rekey abort`: do that just before you change the root key.
    Begin(Begin),

    /// After the change of the root key: seal everything anew, prove it, and let cells be written again
    Finish(Finish),

    /// Before the change of the root key: leave everything as it was
    Abort,
}

#[derive(Debug, Args)]
pub(crate) struct Begin {
    /// The key's file, readable by you alone; made where it is not there
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// Refuse writes of sealed cells from now on
    #[arg(long)]
    freeze: bool,

    #[command(flatten)]
    locks: Locks,
}

#[derive(Debug, Args)]
pub(crate) struct Finish {
    /// The file of `rekey begin`
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    locks: Locks,
}

impl Context<'_> {
    pub(super) async fn rekey(&mut self, command: Rekey) -> Result<Exit> {
        let admin = self.admin()?;
        match command {
            Rekey::Begin(arguments) => {
                let run = self.watched("rekey");
                let lock_wait = Duration::from_secs(arguments.locks.lock_wait);
                let outcome =
                    admin.rekey_begin(&arguments.file, arguments.freeze, lock_wait, &run.control).await;
                run.end();
                let state = outcome?;
                let file = arguments.file.display().to_string();
                let text = || {
                    if state.is_stopped {
                        return "Stopped: what is wrapped stays wrapped. Run the same command again."
                            .to_owned();
                    }
                    let mut lines = vec![format!(
                        "{} wrapped and read back under the key of {file}.",
                        plural(state.wrapped, "value is", "values are")
                    )];
                    if state.broken > 0 {
                        lines.push(format!(
                            "{} not open now either, and will not afterwards: `app-secrets doctor` names them.",
                            plural(state.broken, "value does", "values do")
                        ));
                    }
                    lines.push(if state.is_frozen {
                        "Sealed cells refuse writes from now on.\nNext: change Vault's root key, then app-secrets rekey finish"
                            .into()
                    } else {
                        "Next, just before you change the root key: app-secrets rekey begin --freeze".into()
                    });
                    lines.join("\n")
                };
                self.show(text, || {
                    json!({
                        "wrapped": state.wrapped, "broken": state.broken, "frozen": state.is_frozen,
                        "stopped": state.is_stopped, "file": file,
                    })
                });
                Ok(if state.is_stopped { Exit::Stopped } else { Exit::Ok })
            }
            Rekey::Finish(arguments) => {
                let run = self.watched("rekey");
                let lock_wait = Duration::from_secs(arguments.locks.lock_wait);
                let outcome = admin.rekey_finish(&arguments.file, lock_wait, &run.control).await;
                run.end();
                let done = outcome?;
                let file = arguments.file.display();
                let text = || {
                    if done.is_stopped {
                        "Stopped: what is sealed stays sealed. Run the same command again.".to_owned()
                    } else {
                        format!(
                            "{} sealed under the new root key; every value opens. Cells can be written again, and the wraps \
                             are destroyed.\nDelete {file}: it is of no use any more.",
                            plural(done.sealed, "value is", "values are")
                        )
                    }
                };
                self.show(text, || json!({ "sealed": done.sealed, "stopped": done.is_stopped }));
                Ok(if done.is_stopped { Exit::Stopped } else { Exit::Ok })
            }
            Rekey::Abort => {
                admin.rekey_abort().await?;
                self.show(
                    || {
                        "Aborted: everything is as it was, cells can be written, and the wraps are destroyed. Delete the key's \
                         file."
                            .into()
                    },
                    || json!({ "aborted": true }),
                );
                Ok(Exit::Ok)
            }
        }
    }
}
