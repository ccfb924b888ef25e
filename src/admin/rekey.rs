//! Carries every secret over to another root key of Vault. Stopped at any point, each step goes on where it was.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Admin;
use super::backfill::Pace;
use super::event::{Control, Event, Unit};
use super::names::require_applied;
use super::session::{Interrupted, Session, StepOptions};
use super::wrapping::WrappingKey;
use crate::error::{Error, Result};
use crate::queries::rekey::{self, UnderWay, Wrapped};

/// Values in one transaction: with the longest, 13 MB.
const PAGE: i32 = 200;

/// Where a rekey stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyState {
    /// Values that are wrapped.
    pub wrapped: i64,
    /// Values that did not open before the change, either; they stay as they are.
    pub broken: i64,
    /// Sealed cells refuse writes.
    pub is_frozen: bool,
    /// It was told to stop; run it again.
    pub is_stopped: bool,
}

/// What finishing a rekey came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekeyed {
    /// Values that were sealed anew now.
    pub sealed: i64,
    /// It was told to stop; run it again.
    pub is_stopped: bool,
}

impl Admin {
    /// Wraps every value under the key of the file, which is made where it is not there. With `freeze`, sealed cells refuse
    /// writes from then on and what has changed meanwhile is wrapped again.
    pub async fn rekey_begin(
        &self,
        file: &Path,
        freeze: bool,
        lock_wait: Duration,
        control: &Control,
    ) -> Result<RekeyState> {
        self.require_rekey().await?;
        let mut state = RekeyState { wrapped: 0, broken: 0, is_frozen: false, is_stopped: false };
        match self.begin_and_wrap(file, freeze, lock_wait, control, &mut state).await {
            Ok(()) => Ok(state),
            Err(Interrupted::Stopped) => Ok(RekeyState { is_stopped: true, ..state }),
            Err(Interrupted::Failed(error)) => Err(error),
        }
    }

    async fn begin_and_wrap(
        &self,
        file: &Path,
        freeze: bool,
        lock_wait: Duration,
        control: &Control,
        state: &mut RekeyState,
    ) -> Result<(), Interrupted> {
        let mut session = self.begin(control).await?;
        let before = rekey::under_way(session.connection()).await?;
        let key = if let Some(before) = &before {
            known(WrappingKey::read(file)?, before)?
        } else {
            // Before a file is made.
            rekey::require_root_key(session.connection()).await?;
            WrappingKey::read_or_make(file)?
        };
        rekey::begin(session.connection(), key.id, &key.proof()?).await?;
        wrap_all(&mut session, &key, control).await?;
        if freeze {
            let step_options = StepOptions { what: "the freeze", lock_wait, is_cancelled_by_stop: false };
            session.run(control, step_options, |connection| Box::pin(rekey::freeze(connection))).await?;
            // Nobody writes any more: what has changed since its page was wrapped is wrapped again, until nothing has.
            wrap_all(&mut session, &key, control).await?;
        }
        rekey::forget_gone(session.connection()).await?;
        (state.wrapped, state.broken) = rekey::count(session.connection()).await?;
        state.is_frozen = rekey::under_way(session.connection()).await?.is_some_and(|now| now.is_frozen);
        Ok(())
    }

    /// After the change of the root key: seals every value anew under it, without changing a version, proves that all of them
    /// open, and lets cells be written again.
    pub async fn rekey_finish(&self, file: &Path, lock_wait: Duration, control: &Control) -> Result<Rekeyed> {
        self.require_rekey().await?;
        let mut outcome = Rekeyed { sealed: 0, is_stopped: false };
        match self.seal_all(file, lock_wait, control, &mut outcome).await {
            Ok(()) => Ok(outcome),
            Err(Interrupted::Stopped) => Ok(Rekeyed { is_stopped: true, ..outcome }),
            Err(Interrupted::Failed(error)) => Err(error),
        }
    }

    async fn seal_all(
        &self,
        file: &Path,
        lock_wait: Duration,
        control: &Control,
        outcome: &mut Rekeyed,
    ) -> Result<(), Interrupted> {
        let mut session = self.begin(control).await?;
        let before = rekey::under_way(session.connection()).await?.ok_or_else(none)?;
        let key = known(WrappingKey::read(file)?, &before)?;
        if !before.is_finishing && rekey::require_root_key(session.connection()).await.is_ok() {
            return Err(Error::Refused(
                "Vault's root key is still the one that everything is sealed under; nothing was changed. Change it first, or \
                 run `app-secrets rekey abort`"
                    .into(),
            )
            .into());
        }
        let step_options = StepOptions { what: "the freeze", lock_wait, is_cancelled_by_stop: false };
        session.run(control, step_options, |connection| Box::pin(rekey::freeze(connection))).await?;
        let key = Arc::new(key);
        let (done, total) = rekey::to_seal_in_all(session.connection()).await?;
        let mut progress = Pace::new(Unit::Value, done, total);
        for canary in [true, false] {
            let mut after = None;
            loop {
                let page = rekey::to_seal(session.connection(), canary, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.vault_id);
                if control.is_stopped() {
                    return Err(Interrupted::Stopped);
                }
                let opened = Arc::new(open(&key, &page)?);
                let step_options =
                    StepOptions { what: "sealing anew", lock_wait, is_cancelled_by_stop: false };
                session
                    .run(control, step_options, move |connection| {
                        let opened = Arc::clone(&opened);
                        Box::pin(async move {
                            let ids: Vec<Uuid> = opened.iter().map(|(id, _)| *id).collect();
                            let values: Vec<&str> = opened.iter().map(|(_, value)| value.as_str()).collect();
                            rekey::seal(connection, &ids, &values).await
                        })
                    })
                    .await?;
                let sealed = length(&page);
                outcome.sealed += i64::from(sealed);
                control.tell(&Event::Batch(progress.note(sealed, outcome.sealed)));
            }
        }
        let lost = rekey::lost(session.connection()).await?;
        if !lost.is_empty() {
            return Err(Error::VerificationFailed(format!(
                "these were written between `rekey begin` and the change of the root key, without --freeze, and do not open: \
                 {}{}. The wraps stay, and cells refuse writes. Give Vault its former root key back and run `rekey begin \
                 --freeze`, or clear those cells with their owners' consent",
                lost.join(", "),
                if lost.len() == 10 { ", …" } else { "" }
            ))
            .into());
        }
        rekey::end(session.connection(), "finished").await?;
        Ok(())
    }

    /// Before the change of the root key: lets cells be written again, and destroys the wraps.
    pub async fn rekey_abort(&self) -> Result<()> {
        self.require_rekey().await?;
        let control = Control::silent();
        let work = async {
            let mut session = self.begin(&control).await?;
            if rekey::under_way(session.connection()).await?.is_none() {
                return Err(none().into());
            }
            rekey::end(session.connection(), "aborted").await?;
            Ok(())
        };
        work.await.map_err(|interrupted: Interrupted| match interrupted {
            Interrupted::Failed(error) => error,
            Interrupted::Stopped => Error::Refused("it was stopped; nothing was changed".into()),
        })
    }

    async fn require_rekey(&self) -> Result<()> {
        require_applied(&mut self.look().await?, 4).await
    }
}

fn none() -> Error {
    Error::Refused(
        "no change of the root key is under way: that begins with `app-secrets rekey begin`".into(),
    )
}

fn known(key: WrappingKey, before: &UnderWay) -> Result<WrappingKey> {
    key.require_proof(before.id, &before.proof)?;
    Ok(key)
}

/// Wraps what has no wrap or has changed since, page by page, and reads each wrap back.
async fn wrap_all(session: &mut Session, key: &WrappingKey, control: &Control) -> Result<(), Interrupted> {
    let (done, total) = rekey::to_wrap_in_all(session.connection()).await?;
    let (mut progress, mut wrapped, mut after) = (Pace::new(Unit::Value, done, total), 0, None);
    loop {
        if control.is_stopped() {
            return Err(Interrupted::Stopped);
        }
        let connection = session.connection();
        let page = rekey::to_wrap(connection, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.vault_id);
        let mut wraps = Vec::with_capacity(page.len());
        for open in &page {
            let wrap =
                open.value.as_ref().map(|value| key.wrap(open.vault_id, &open.cell, value.expose_secret()));
            wraps.push(wrap.transpose()?);
        }
        let ids: Vec<Uuid> = page.iter().map(|open| open.vault_id).collect();
        let fingerprints: Vec<Vec<u8>> = page.iter().map(|open| open.fingerprint.clone()).collect();
        rekey::store(connection, &ids, &fingerprints, &wraps).await?;
        let mut stored = rekey::stored(connection, &ids).await?.into_iter();
        for open in &page {
            let stored = stored.next().flatten().unwrap_or_default();
            let Some(value) = &open.value else { continue };
            if key.unwrap(open.vault_id, &open.cell, &stored)?.as_str() != value.expose_secret() {
                return Err(Error::VerificationFailed("a wrap does not hold what was wrapped".into()).into());
            }
        }
        let batch = length(&page);
        wrapped += i64::from(batch);
        control.tell(&Event::Batch(progress.note(batch, wrapped)));
    }
}

/// Of a page, so at most [`PAGE`].
fn length<T>(page: &[T]) -> i32 {
    i32::try_from(page.len()).unwrap_or(PAGE)
}

fn open(key: &WrappingKey, page: &[Wrapped]) -> Result<Vec<(Uuid, Zeroizing<String>)>> {
    page.iter()
        .map(|wrapped| Ok((wrapped.vault_id, key.unwrap(wrapped.vault_id, &wrapped.cell, &wrapped.wrap)?)))
        .collect()
}
