//! The migration engine, called as code calls it at deploy time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use app_secrets::admin::{Admin, Control, DropOptions, Event, MigrateOptions, Next, Stopper, Unit};
use app_secrets::{Code, Config, Options};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use support::proxy::Proxy;
use url::Url;

const LEGACY_APP: &str = include_str!("../dev/legacy-app.sql");
const BUSINESSES: i64 = 60;

/// A database of its own with the legacy app's tables and three keys in each business, dropped after the test.
struct Database {
    url: Url,
}

impl Database {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut url =
            Url::parse(&std::env::var("ADMIN_DATABASE_URL").expect("run `npm test cargo`")).unwrap();
        let name = format!("migrate_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        url.set_path("/template1");
        // A template admits one copy at a time.
        let mut maintenance = PgConnection::connect(url.as_str()).await.unwrap();
        maintenance.execute("select pg_advisory_lock(715002)").await.unwrap();
        let create = format!("create database {name} template app_template");
        maintenance.execute(sqlx::raw_sql(AssertSqlSafe(create))).await.unwrap();
        maintenance.close().await.unwrap();
        url.set_path(&name);
        let database = Self { url };
        let mut connection = database.connect().await;
        connection.execute(sqlx::raw_sql(LEGACY_APP)).await.unwrap();
        let fill = format!(
            "insert into public.businesses (name, gemini_api_key, grok_api_key, claude_api_key)
             select 'b' || i, 'gemini-' || i, ' grok-' || i, 'claude-' || i from generate_series(1, {BUSINESSES}) i"
        );
        connection.execute(sqlx::raw_sql(AssertSqlSafe(fill))).await.unwrap();
        database
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.url.as_str()).await.unwrap()
    }

    fn admin(&self) -> Admin {
        admin_of(self.url.as_str())
    }

    async fn drop(self) {
        let mut url = self.url.clone();
        let name = url.path().trim_start_matches('/').to_owned();
        url.set_path("/template1");
        let mut maintenance = PgConnection::connect(url.as_str()).await.unwrap();
        let drop = format!("drop database {name} with (force)");
        maintenance.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await.unwrap();
    }
}

fn admin_of(url: &str) -> Admin {
    let options =
        Options { url: Some(url.to_owned().into()), timeout_ms: Some(20_000), ..Options::default() };
    Admin::new(Config::new(options, |_| None).unwrap())
}

/// Remembers what it is told.
fn listening() -> (Control, Stopper, Arc<Mutex<Vec<Event>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&heard);
    let (control, stopper) = Control::new(move |event| events.lock().unwrap().push(event.clone()));
    (control, stopper, heard)
}

fn small_batches() -> MigrateOptions {
    MigrateOptions { batch: 5, ..MigrateOptions::default() }
}

async fn is_proved(admin: &Admin) {
    let found = admin.verify(2, &Control::silent()).await.unwrap().unwrap();
    assert!(found.is_sound(), "{}", found.summary());
    let values: i64 = found.columns.unwrap().iter().map(|column| column.sealed_values).sum();
    assert_eq!(values, BUSINESSES * 3);
}

#[tokio::test]
async fn the_caller_is_told_what_happens_in_order() {
    let database = Database::new().await;
    let (control, _stopper, heard) = listening();
    let outcome = database.admin().migrate(&small_batches(), &control).await.unwrap();
    assert_eq!(outcome.applied, [2, 3, 4]);
    assert_eq!((outcome.businesses, outcome.secrets), (BUSINESSES, BUSINESSES * 3));
    assert_eq!(outcome.stopped_in, None);

    let events = heard.lock().unwrap().clone();
    let files: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Started { version, .. } => Some(format!("started {version}")),
            Event::Applied { version, .. } => Some(format!("applied {version}")),
            _ => None,
        })
        .collect();
    assert_eq!(files, ["started 2", "applied 2", "started 3", "applied 3", "started 4", "applied 4"]);

    let batches: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Batch(progress) => Some(*progress),
            _ => None,
        })
        .collect();
    assert!(batches.len() >= 12, "{} batches", batches.len());
    assert!(
        batches.windows(2).all(|pair| pair[0].done <= pair[1].done && pair[0].secrets <= pair[1].secrets)
    );
    assert!(batches.iter().all(|batch| batch.total == BUSINESSES && batch.per_second > 0.0));
    assert_eq!(batches.last().unwrap().done, BUSINESSES);
    is_proved(&database.admin()).await;
    database.drop().await;
}

#[tokio::test]
async fn a_change_of_the_root_key_tells_how_many_values_are_wrapped() {
    let database = Database::new().await;
    let admin = database.admin();
    admin.migrate(&MigrateOptions::default(), &Control::silent()).await.unwrap();
    let proof = admin.verify(2, &Control::silent()).await.unwrap().unwrap();
    let confirmation = admin.confirmation().await.unwrap().word;
    let options = DropOptions { confirmation, also: vec!["*".into()], lock_wait: Duration::from_secs(20) };
    admin.drop_legacy(&proof, &options, &Control::silent()).await.unwrap();

    let file = std::env::temp_dir().join(format!("app-secrets-{}.key", std::process::id()));
    let (control, _stopper, heard) = listening();
    let state = admin.rekey_begin(&file, false, Duration::from_secs(20), &control).await.unwrap();
    // And Vault's canary.
    assert_eq!(state.wrapped, BUSINESSES * 3 + 1);
    let last = heard.lock().unwrap().iter().rev().find_map(|event| match event {
        Event::Batch(progress) => Some((progress.unit, progress.done, progress.total, progress.secrets)),
        _ => None,
    });
    assert_eq!(last, Some((Unit::Value, state.wrapped, state.wrapped, state.wrapped)));
    admin.rekey_abort().await.unwrap();
    std::fs::remove_file(file).unwrap();
    database.drop().await;
}

#[tokio::test]
async fn several_migrators_at_once_do_the_work_once() {
    let database = Database::new().await;
    let run = || async {
        let (control, _stopper, heard) = listening();
        let options = MigrateOptions { pause: Duration::from_millis(100), ..small_batches() };
        let outcome = database.admin().migrate(&options, &control).await.unwrap();
        let waited = heard.lock().unwrap().iter().any(|event| matches!(event, Event::Waiting { .. }));
        (outcome.applied, waited)
    };
    let (one, two, three) = tokio::join!(run(), run(), run());
    let mut outcomes = [one, two, three];
    outcomes.sort();
    assert_eq!(outcomes[0], (Vec::new(), true));
    assert_eq!(outcomes[1], (Vec::new(), true));
    assert_eq!(outcomes[2].0, [2, 3, 4]);
    is_proved(&database.admin()).await;
    database.drop().await;
}

#[tokio::test]
async fn what_is_stopped_goes_on_where_it_stopped() {
    let database = Database::new().await;
    let (control, stopper, heard) = listening();
    let options = MigrateOptions { pause: Duration::from_millis(20), ..small_batches() };
    let admin = database.admin();
    let (outcome, ()) = tokio::join!(admin.migrate(&options, &control), async {
        while !heard.lock().unwrap().iter().any(|event| matches!(event, Event::Batch(_))) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stopper.stop();
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.applied, outcome.stopped_in), (vec![2], Some(3)));

    let status = admin.status().await.unwrap();
    assert!(status.done > 0 && status.done < BUSINESSES);
    assert_eq!(status.next, Next::Migrate);

    let rest = admin.migrate(&options, &Control::silent()).await.unwrap();
    assert_eq!(rest.applied, [3, 4]);
    assert_eq!(rest.businesses, BUSINESSES - status.done);
    is_proved(&admin).await;
    database.drop().await;
}

#[tokio::test]
async fn a_lock_that_others_keep_is_given_up_with_their_names() {
    let database = Database::new().await;
    let mut other = database.connect().await;
    other.execute("set application_name = 'maya'").await.unwrap();
    other.execute(sqlx::raw_sql("begin; lock table public.businesses in row exclusive mode")).await.unwrap();
    let (control, _stopper, heard) = listening();
    let options = MigrateOptions { lock_wait: Duration::from_secs(8), ..MigrateOptions::default() };
    let error = database.admin().migrate(&options, &control).await.unwrap_err();
    assert_eq!(error.code(), Code::LockTimeout);
    assert!(error.to_string().contains("maya, idle in transaction since"), "{error}");
    let events = heard.lock().unwrap().clone();
    let retries = events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count();
    assert!(retries >= 1, "it gave up at the first attempt");

    other.execute("rollback").await.unwrap();
    let applied = database.admin().migrate(&options, &control).await.unwrap().applied;
    assert_eq!(applied, [2, 3, 4]);
    database.drop().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_moment_costs_nothing_but_another_run() {
    let database = Database::new().await;
    let proxy = Proxy::to(database.url.as_str()).await;
    let mut cuts = 0;
    loop {
        let admin = admin_of(secrecy::ExposeSecret::expose_secret(&proxy.url()));
        let options = MigrateOptions { pause: Duration::from_millis(5), ..small_batches() };
        let control = Control::silent();
        let (outcome, ()) = tokio::join!(admin.migrate(&options, &control), async {
            tokio::time::sleep(Duration::from_millis(120 + 60 * cuts)).await;
            proxy.disconnect();
        });
        match outcome {
            Ok(_) => break,
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
        }
        cuts += 1;
    }
    assert!(cuts > 0, "it was never cut");
    is_proved(&database.admin()).await;
    database.drop().await;
}

#[tokio::test]
async fn a_session_that_changes_under_it_is_refused() {
    let database = Database::new().await;
    let proxy = Proxy::to(database.url.as_str()).await;
    proxy.pool_transactions();
    let admin = admin_of(secrecy::ExposeSecret::expose_secret(&proxy.url()));
    let error = admin.migrate(&MigrateOptions::default(), &Control::silent()).await.unwrap_err();
    assert_eq!(error.code(), Code::Refused);
    assert!(error.to_string().contains("transaction mode"), "{error}");
    database.drop().await;
}

#[tokio::test]
async fn options_that_cannot_be_meant_are_refused_before_anything_is_sent() {
    let admin = admin_of("postgres://nobody:pw@127.0.0.1:9/nowhere");
    for (options, code) in [
        (MigrateOptions { to: 5, ..MigrateOptions::default() }, Code::Refused),
        (MigrateOptions { to: 1, ..MigrateOptions::default() }, Code::InvalidArgument),
        (MigrateOptions { batch: 0, ..MigrateOptions::default() }, Code::InvalidArgument),
        (MigrateOptions { batch: 10_001, ..MigrateOptions::default() }, Code::InvalidArgument),
    ] {
        assert_eq!(admin.migrate(&options, &Control::silent()).await.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn a_checksum_is_kept_of_what_was_applied() {
    let database = Database::new().await;
    database.admin().migrate(&MigrateOptions::default(), &Control::silent()).await.unwrap();
    let mut connection = database.connect().await;
    let rows = connection
        .fetch_all("select version, checksum from app_secrets.migrations order by version")
        .await
        .unwrap();
    for row in rows {
        let file = app_secrets::admin::File::of_version(row.get(0)).unwrap();
        assert_eq!(row.get::<String, _>(1), file.checksum());
    }
    database.drop().await;
}
