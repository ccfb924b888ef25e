//! The database contract: the only SQL of the client, and what its answers mean.
//! Knows nothing of pools, deadlines or retries.

mod connect;
mod decode;
mod errors;
mod listen;
mod read;
mod sql;
mod statements;
mod write;

use sqlx::Executor;
use sqlx::postgres::PgConnection;
use std::time::Duration;

pub(crate) use self::connect::{connect_options, open};
pub(crate) use self::decode::{Element, ElementStatus};
pub(crate) use self::errors::{
    ConnectFault, Fault, is_of_scope, permission_denied_for_secret, unknown_secret,
};
pub(crate) use self::listen::{ListenError, ListenSession};
pub(crate) use self::read::Read;
pub(crate) use self::statements::{Check, DueWithin, KnownNames, List, Ping, Release, TakeLease, Undo};
pub(crate) use self::write::Write;

/// How statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Prepared once a connection, then one round trip each.
    Prepared,
    /// Nothing outlives a transaction: the next statement may reach another server.
    Transactional,
}

/// What an answer needs on its way, besides a tenth of the time that is left. A tenth of a short time is less than a
/// busy server or machine takes, and the caller would give up on a write just as the server gives up the lock.
const ANSWER_MARGIN: Duration = Duration::from_millis(150);

/// What every statement is sent with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) protocol: Protocol,
    /// Whom the audit names besides the login.
    pub(crate) actor: &'a str,
    /// How long the caller still waits.
    pub(crate) time_left: Duration,
}

impl Context<'_> {
    /// Shorter than the time that is left: the server gives up a lock before the caller gives up the server, so that
    /// the outcome of a write is known.
    fn lock_timeout(&self) -> String {
        let margin = (self.time_left / 10).max(ANSWER_MARGIN).min(self.time_left / 2);
        u64::try_from(self.time_left.saturating_sub(margin).as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
            .to_string()
    }
}

/// Something to send, and what comes back.
pub(crate) trait Statement: Send + Sync + 'static {
    type Answer: Send + 'static;

    /// A statement that writes must not be sent twice unless the first time certainly had no effect.
    const WRITES: bool;

    fn send(
        &self,
        connection: &mut PgConnection,
        context: Context<'_>,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// Asks the server for a sign of life.
pub(crate) async fn ping(connection: &mut PgConnection) -> Result<(), Fault> {
    connection.execute(sql::PING).await?;
    Ok(())
}
