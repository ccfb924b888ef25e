//! What the integration tests share: a migrated database, and ways to disturb the connection to it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "test support")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod proxy;

use app_secrets::{Client, Config, Options, SecretName};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

pub fn service_url() -> String {
    variable("APP_SECRETS_URL")
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `npm run with-postgres -- cargo test --no-default-features`")
    })
}

pub fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

pub fn client(options: Options) -> Client {
    let url = Some(options.url.unwrap_or_else(|| service_url().into()));
    Client::new(Config::new(Options { url, ..options }, |_| None).unwrap())
}

/// Patient enough for a busy machine where the deadline is not the point.
pub fn patient() -> Options {
    Options { timeout_ms: Some(20_000), ..Options::default() }
}

/// The migration role, to prepare and to look behind.
pub async fn admin() -> PgConnection {
    PgConnection::connect(&variable("ADMIN_DATABASE_URL")).await.unwrap()
}

pub async fn new_business(admin: &mut PgConnection) -> Uuid {
    new_businesses(admin, 1).await[0]
}

pub async fn new_businesses(admin: &mut PgConnection, count: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "insert into public.businesses (name) select 'b' from generate_series(1, $1) returning id",
    )
    .bind(count)
    .fetch_all(admin)
    .await
    .unwrap()
}

pub async fn run(admin: &mut PgConnection, sql: String) {
    admin.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
}

#[expect(clippy::unnecessary_wraps, reason = "as `set` takes it")]
pub fn secret(text: &str) -> Option<SecretString> {
    Some(text.into())
}

pub fn plain(value: Option<SecretString>) -> Option<String> {
    value.map(|value| value.expose_secret().to_owned())
}
