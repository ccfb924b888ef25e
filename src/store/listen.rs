//! A session that receives notifications of changes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener, PgNotification, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::{timeout, timeout_at};
use uuid::Uuid;

use super::connect::pinned;
use super::{ConnectFault, Fault, connect_options, sql};
use crate::config::Config;
use crate::error::{Error, Result};

const CHANNEL: &str = "business_secrets_changed";

/// A session that was silent for longer is pinged: a half-open connection would stay silent for ever.
const SILENCE: Duration = Duration::from_secs(15);

/// How long the answer to a ping, or an echo, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session that listens.
pub(crate) struct ListenSession {
    listener: PgListener,
    /// The driver offers notifications only to connections of a pool of its own. This one holds the one connection,
    /// and never gets to open another.
    pool: PgPool,
}

/// Why no notification can arrive.
#[derive(Debug)]
pub(crate) enum ListenError {
    /// No session came about: worth another attempt soon.
    NotConnected(Error),
    /// There is a session, but a notification that it sent itself did not arrive.
    NoEcho,
}

impl From<Error> for ListenError {
    fn from(error: Error) -> Self {
        Self::NotConnected(error)
    }
}

impl ListenSession {
    /// Opens a session, and proves that notifications arrive: a transaction pooler takes LISTEN without complaint, on
    /// a session that is somebody else's a moment later.
    ///
    /// What is sent from the moment it returns will be heard.
    pub(crate) async fn open(config: &Config) -> Result<Self, ListenError> {
        let place = config.endpoint.place();
        let deadline = tokio::time::Instant::now() + config.timeout;
        let late =
            || Error::unavailable(format!("{place}: no session within {} ms", config.timeout.as_millis()));
        let refused = |error: sqlx::Error| ConnectFault::new(&error, &place).error;
        let mut options = connect_options(config);
        if config.tls.loopback_only {
            let pinned = timeout_at(deadline, pinned(options)).await;
            options = pinned.map_err(|_| late())?.map_err(refused)?;
        }

        // Connected first: its error names the cause, where the pool's would only say that the time is up.
        let sender = timeout_at(deadline, PgConnection::connect_with(&options)).await;
        let sender = sender.map_err(|_| late())?.map_err(refused)?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(config.timeout)
            .connect_lazy_with(options);
        let listener = timeout_at(deadline, PgListener::connect_with(&pool)).await;
        let mut listener = match listener {
            Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => return Err(late().into()),
            Ok(listener) => listener.map_err(refused)?,
        };
        // What is lost while it reconnects would go unnoticed.
        listener.eager_reconnect(false);
        let mut session = Self { listener, pool };
        match timeout(PATIENCE, session.prove(sender)).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(error)) => {
                session.close().await;
                Err(Fault::from(error).error.into())
            }
            Err(_) => {
                session.close().await;
                Err(ListenError::NoEcho)
            }
        }
    }

    async fn prove(&mut self, mut sender: PgConnection) -> Result<(), sqlx::Error> {
        let echo = format!("app_secrets_echo_{}", Uuid::from_u128(fastrand::u128(..)).simple());
        self.listener.listen_all([CHANNEL, &echo]).await?;
        sender.execute(sqlx::raw_sql(AssertSqlSafe(format!("notify {echo}")))).await?;
        while self.listener.try_recv().await?.ok_or(sqlx::Error::PoolClosed)?.channel() != echo {}
        self.listener.unlisten(&echo).await?;
        // Its work is done, and a failure to end it politely has no consequence.
        let _ = sender.close().await;
        Ok(())
    }

    /// The next notification, in UTF-8 or empty. An error means that others may have been lost.
    pub(crate) async fn next(&mut self) -> Result<String> {
        loop {
            match timeout(SILENCE, self.listener.try_recv()).await {
                Ok(Ok(Some(notification))) if notification.channel() == CHANNEL => {
                    return Ok(payload(&notification));
                }
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Err(Error::unavailable("the server closed the session that listens")),
                Ok(Err(error)) => return Err(Fault::from(error).error),
                Err(_) => self.ping().await?,
            }
        }
    }

    async fn ping(&mut self) -> Result<()> {
        match timeout(PATIENCE, self.listener.execute(sql::PING)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Fault::from(error).error),
            Err(_) => Err(Error::unavailable("the session that listens gives no sign of life")),
        }
    }

    /// Ends the session. A half-open one is left to the operating system, which gives it up in its own time.
    pub(crate) async fn close(self) {
        let Self { listener, pool } = self;
        drop(listener);
        let _ = timeout(Duration::from_secs(1), pool.close()).await;
    }
}

/// The driver panics on what is not UTF-8, which a database without an encoding (`SQL_ASCII`) lets through.
fn payload(notification: &PgNotification) -> String {
    catch_unwind(AssertUnwindSafe(|| notification.payload().to_owned())).unwrap_or_default()
}
