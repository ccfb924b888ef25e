//! How a client ends.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use std::sync::LazyLock;

use app_secrets::{Code, Options, SecretName};
use sqlx::{Connection, Executor};
use support::proxy::Proxy;
use support::{admin, client, name, new_business, patient, secret, service_url};

static NAME: LazyLock<SecretName> = LazyLock::new(|| name("grok_api_key"));

#[tokio::test]
async fn what_is_under_way_ends_well_and_later_calls_are_refused() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(patient());
    client.ping().await.unwrap();

    let mut blocker = admin.begin().await.unwrap();
    blocker.execute("lock table public.business_secrets in exclusive mode").await.unwrap();
    let writer = tokio::spawn({
        let client = client.clone();
        async move { client.set(business, *NAME, secret("under way"), None).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.get(business, *NAME).await.unwrap_err().code(), Code::Closed);
    assert!(!closing.is_finished());

    blocker.rollback().await.unwrap();
    assert!(writer.await.unwrap().unwrap() > 0);
    closing.await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_connection_is_served_before_it_is_closed() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(Options { max_connections: Some(1), ..patient() });
    client.ping().await.unwrap();

    let mut blocker = admin.begin().await.unwrap();
    blocker.execute("lock table public.business_secrets in exclusive mode").await.unwrap();
    let write = |value: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.set(business, *NAME, secret(value), None).await })
    };
    let writes = [write("one"), write("two"), write("three")];
    let list = tokio::spawn({
        let client = client.clone();
        async move { client.list(business).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.ping().await.unwrap_err().code(), Code::Closed);
    assert!(!closing.is_finished());

    blocker.rollback().await.unwrap();
    for write in writes {
        assert!(write.await.unwrap().unwrap() > 0);
    }
    list.await.unwrap().unwrap();
    closing.await.unwrap();
}

#[tokio::test]
async fn what_waits_for_the_first_connection_is_served_before_it_is_closed() {
    let business = new_business(&mut admin().await).await;
    let client = client(patient());
    let (list, read, ()) = tokio::join!(client.list(business), client.get(business, *NAME), client.close());
    list.unwrap();
    assert!(read.unwrap().is_none());
    assert_eq!(client.ping().await.unwrap_err().code(), Code::Closed);
}

#[tokio::test]
async fn closing_leaves_no_connection_behind_and_may_be_repeated() {
    let mut admin = admin().await;
    let name = format!("close {}", new_business(&mut admin).await);
    let client = client(Options { application_name: Some(name[..42].to_owned()), ..patient() });
    client.ping().await.unwrap();
    client.close().await;
    client.close().await;
    let gone = async {
        let count = "select count(*) from pg_catalog.pg_stat_activity where application_name = $1";
        while sqlx::query_scalar::<_, i64>(count).bind(&name[..42]).fetch_one(&mut admin).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn closing_does_not_wait_where_nobody_waits_any_more() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.hang(true);
    let options = Options { url: Some(proxy.url()), timeout_ms: Some(4000), ..Options::default() };
    let client = client(options);
    let (read, ping) =
        tokio::join!(client.get(sqlx::types::Uuid::from_u128(1), name("grok_api_key")), client.ping());
    assert!(matches!(read.unwrap_err().code(), Code::Timeout | Code::Unavailable));
    assert!(matches!(ping.unwrap_err().code(), Code::Timeout | Code::Unavailable));
    let begun = Instant::now();
    client.close().await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn closing_does_not_wait_for_a_database_that_is_away() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.refuse(true);
    let client = client(Options { url: Some(proxy.url()), ..patient() });
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.ping().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    client.close().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::Closed);
}
