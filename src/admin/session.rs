//! The two connections of a migrator: one works under the migrators' lock, the other watches who is in its way.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::event::{Control, Event, list};
use super::{Admin, Blocker};
use crate::config::{Config, Pooler};
use crate::error::{Error, Result};
use crate::queries::{AdminFault, Answer, session};

/// Below the lock timeout of a second, so that a blocker is seen before it has had its way.
const LOOK: Duration = Duration::from_millis(200);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the other migrator is left alone between two looks.
const TURN: Duration = Duration::from_millis(200);

/// A statement, or several, on a connection.
pub(crate) type Work<'a, T> = Pin<Box<dyn Future<Output = Answer<T>> + Send + 'a>>;

/// Why it does not go on.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// It was told to stop.
    Stopped,
    Failed(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<AdminFault> for Interrupted {
    fn from(fault: AdminFault) -> Self {
        Self::Failed(fault.into_error())
    }
}

/// How a step is to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepOptions<'a> {
    /// For people.
    pub(crate) what: &'a str,
    /// How long it may go on failing for want of a lock.
    pub(crate) lock_wait: Duration,
    /// A stop undoes it; otherwise it is short, and ends by itself.
    pub(crate) is_cancelled_by_stop: bool,
}

/// Holds the migrators' lock for as long as it lives, or works beside one that does.
pub(crate) struct Session {
    worker: PgConnection,
    watcher: Watcher,
    config: Config,
}

struct Watcher {
    connection: PgConnection,
    /// The worker's process.
    pid: i32,
    /// Who was in its way when somebody last was.
    seen: Vec<Blocker>,
}

impl Admin {
    /// For looking: one connection, no lock.
    pub(crate) async fn look(&self) -> Result<PgConnection> {
        session::open(&self.config, "app-secrets").await
    }

    /// For changing: refuses a transaction pooler, and waits for the migrators' lock.
    pub(crate) async fn begin(&self, control: &Control) -> Result<Session, Interrupted> {
        if self.config.pooler == Pooler::Transaction {
            return Err(pooled(&self.config).into());
        }
        let mut session = Session::open(&self.config).await?;
        if session::is_pooled(&mut session.worker, &mut session.watcher.connection).await? {
            return Err(pooled(&self.config).into());
        }
        session.wait_for_turn(control).await?;
        Ok(session)
    }
}

impl Session {
    async fn open(config: &Config) -> Result<Self> {
        let mut worker = session::open(config, "app-secrets migrate").await?;
        let connection = session::open(config, "app-secrets migrate (watching)").await?;
        let pid = session::pid(&mut worker).await?;
        let watcher = Watcher { connection, pid, seen: Vec::new() };
        Ok(Self { worker, watcher, config: config.clone() })
    }

    /// One more, which works under the lock that this one holds.
    pub(crate) async fn another(&self) -> Result<Self> {
        Self::open(&self.config).await
    }

    async fn wait_for_turn(&mut self, control: &Control) -> Result<(), Interrupted> {
        let mut told: Vec<i32> = Vec::new();
        while !session::try_lock(&mut self.worker).await? {
            let holders = session::lock_holders(&mut self.watcher.connection).await?;
            let pids: Vec<i32> = holders.iter().map(|holder| holder.pid).collect();
            if !pids.is_empty() && pids != told {
                control.tell(&Event::Waiting { holders });
                told = pids;
            }
            if !control.rest(TURN).await {
                return Err(Interrupted::Stopped);
            }
        }
        Ok(())
    }

    /// For what waits for nobody.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.worker
    }

    /// Runs a step, again and again while others hold what it needs, and gives up naming them.
    pub(crate) async fn run<T>(
        &mut self,
        control: &Control,
        step_options: StepOptions<'_>,
        step: impl for<'a> Fn(&'a mut PgConnection) -> Work<'a, T>,
    ) -> Result<T, Interrupted> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let cancels = step_options.is_cancelled_by_stop;
            match self.watcher.watch(control, cancels, step(&mut self.worker)).await {
                Ok(outcome) => return Ok(outcome),
                Err(AdminFault::Busy) if started.elapsed() >= step_options.lock_wait => {
                    return Err(self.watcher.gave_up(step_options.what, started.elapsed()).into());
                }
                Err(AdminFault::Busy) => {
                    // With jitter, so that two who are in each other's way do not meet again.
                    let jittered = pause.mul_f64(0.5 + fastrand::f64());
                    let (what, blockers) = (step_options.what.to_owned(), self.watcher.seen.clone());
                    control.tell(&Event::Retrying { what, blockers, pause: jittered });
                    if !control.rest(jittered).await {
                        return Err(Interrupted::Stopped);
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(AdminFault::Cancelled) if control.is_stopped() => return Err(Interrupted::Stopped),
                Err(fault) => return Err(fault.into()),
            }
        }
    }
}

impl Watcher {
    async fn watch<T>(&mut self, control: &Control, cancels: bool, mut work: Work<'_, T>) -> Answer<T> {
        let mut is_cancelled = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                () = control.stopped(), if cancels && !is_cancelled => {
                    is_cancelled = true;
                    let _ = timeout(LOOK, session::cancel(&mut self.connection, self.pid)).await;
                }
                () = sleep(LOOK) => {
                    let look = timeout(LOOK, session::blockers_of(&mut self.connection, self.pid)).await;
                    if let Ok(Ok(blockers)) = look && !blockers.is_empty() {
                        self.seen = blockers;
                    }
                }
            }
        }
    }

    fn gave_up(&self, what: &str, waited: Duration) -> Error {
        let by = if self.seen.is_empty() {
            "a session that could not be identified".to_owned()
        } else {
            list(&self.seen)
        };
        Error::LockTimeout(format!(
            "{what} was held up for {:.0} s by {by}. End that session or wait for it, then run this again: it goes on \
             where it stopped",
            waited.as_secs_f64()
        ))
    }
}

/// It goes on with fewer sessions than it was asked for.
pub(crate) fn no_session(there_are: u32, error: &Error) -> Event {
    Event::Warning(format!("no further session could be opened, so this goes on with {there_are}: {error}"))
}

fn pooled(config: &Config) -> Error {
    let endpoint = &config.endpoint;
    // Supabase's poolers carry the project in the login's name.
    let project =
        endpoint.user.strip_prefix("postgres.").filter(|_| endpoint.host.ends_with(".pooler.supabase.com"));
    let direct = match project {
        Some(project) => format!(
            "postgresql://postgres:PASSWORD@db.{project}.supabase.co:5432/postgres, or, without IPv6, port 5432 of \
             {} (session mode)",
            endpoint.host
        ),
        None => "postgresql://postgres:PASSWORD@DATABASE-HOST:5432/DATABASE, the server itself and not the pooler in \
                 front of it (Supabase: db.PROJECT.supabase.co, or port 5432 of the pooler's host)"
            .to_owned(),
    };
    Error::Refused(format!(
        "{} is a pooler in transaction mode, where a migration's lock and settings would end up in other people's \
         sessions. Set ADMIN_DATABASE_URL to {direct}",
        endpoint.place()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use crate::error::Code;

    fn config(url: &str) -> Config {
        let options = Options { url: Some(url.to_owned().into()), ..Options::default() };
        Config::new(options, |_| None).unwrap()
    }

    #[tokio::test]
    async fn a_transaction_pooler_is_refused_with_the_direct_hosts_form() {
        let url = "postgresql://postgres.abcdefgh:hunter2@aws-0-eu-west-1.pooler.supabase.com:6543/postgres";
        let Err(Interrupted::Failed(error)) = Admin::new(config(url)).begin(&Control::silent()).await else {
            panic!("it went on");
        };
        assert_eq!(error.code(), Code::Refused);
        let text = error.to_string();
        assert!(
            text.contains("db.abcdefgh.supabase.co:5432") && text.contains("port 5432 of aws-0-eu-west-1"),
            "{text}"
        );
        assert!(!text.contains("hunter2"));

        let Err(Interrupted::Failed(error)) =
            Admin::new(config("postgresql://a:hunter2@pgbouncer.internal/app?pgbouncer=true"))
                .begin(&Control::silent())
                .await
        else {
            panic!("it went on");
        };
        assert!(error.to_string().contains("DATABASE-HOST:5432"), "{error}");
    }
}
