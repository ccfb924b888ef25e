//! Writes against a real database.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use app_secrets::{Client, Code, NameSet, Options};
use sqlx::{Connection, Executor};
use support::proxy::{EXECUTE, Proxy};
use support::{admin, client, name, new_business, patient, plain, secret, service_url};
use uuid::Uuid;

#[tokio::test]
async fn versions_grow_with_changes_and_writing_what_is_there_is_none() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    let set = |value| client.set(business, name("grok_api_key"), secret(value), None);
    let first = set("one").await.unwrap();
    assert!(first > 0);
    assert_eq!(set("one").await.unwrap(), first);
    let second = set("two").await.unwrap();
    assert!(second > first);
    assert!(client.delete(business, name("grok_api_key"), Some(second)).await.unwrap() > second);
    assert!(client.get(business, name("grok_api_key")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_over_another_version_is_refused_and_changes_nothing() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    client.set(business, name("grok_api_key"), secret("one"), Some(0)).await.unwrap();
    let values = vec![(name("grok_api_key"), secret("two")), (name("claude_api_key"), secret("two"))];
    let refused = client.set_many(business, values, vec![(name("grok_api_key"), 0)]).await.unwrap_err();
    assert_eq!(refused.code(), Code::VersionConflict);
    assert_eq!(plain(client.get(business, name("grok_api_key")).await.unwrap()).as_deref(), Some("one"));
    assert!(client.get(business, name("claude_api_key")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_takes_one_round_trip() {
    let proxy = Proxy::to(&service_url()).await;
    let client = client(Options { url: Some(proxy.url()), ..patient() });
    let business = new_business(&mut admin().await).await;
    client.set(business, name("grok_api_key"), secret("one"), None).await.unwrap();
    client.set(business, name("grok_api_key"), secret("two"), None).await.unwrap();
    assert_eq!(proxy.sent(EXECUTE), 2);
    assert_eq!(proxy.sent(support::proxy::QUERY), 0);
}

#[tokio::test]
async fn a_blank_value_clears() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    client.set(business, name("kling_secret_key"), secret("b"), None).await.unwrap();
    client.set(business, name("kling_secret_key"), secret(" \n"), None).await.unwrap();
    assert!(client.get(business, name("kling_secret_key")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_to_a_missing_business_is_refused() {
    let refused = client(patient()).set(Uuid::from_u128(1), name("grok_api_key"), secret("x"), None).await;
    assert_eq!(refused.unwrap_err().code(), Code::BusinessNotFound);
}

#[tokio::test]
async fn the_audit_names_the_actor() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(Options { actor: Some("settings page".into()), ..patient() });
    client.set(business, name("grok_api_key"), secret("one"), None).await.unwrap();
    let named: bool = sqlx::query_scalar(
        "select exists (select from app_secrets.audit_log a where a.business_id = $1 and a::text like '%settings page%')",
    )
    .bind(business)
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(named);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_write_sees_it_however_many_reads_are_under_way() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    let readers: Vec<_> = (0..8).map(|_| tokio::spawn(read_on(client.clone(), business))).collect();
    for round in 0..100 {
        let value = format!("round {round}");
        client.set(business, name("grok_api_key"), secret(&value), None).await.unwrap();
        let read = client.get(business, name("grok_api_key")).await.unwrap();
        assert_eq!(plain(read), Some(value));
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn read_on(client: Client, business: Uuid) {
    loop {
        client.get_many(business, NameSet::from(name("grok_api_key"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_meets_a_lock_ends_by_its_deadline_and_is_not_carried_out_later() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(Options { timeout_ms: Some(3000), ..Options::default() });
    client.set(business, name("grok_api_key"), secret("before"), None).await.unwrap();

    let mut blocker = admin.begin().await.unwrap();
    blocker.execute("lock table public.business_secrets in exclusive mode").await.unwrap();
    let met = client.set(business, name("grok_api_key"), secret("too late"), None).await.unwrap_err();
    assert_eq!(met.code(), Code::Timeout, "{met}");
    blocker.rollback().await.unwrap();

    client.set(business, name("claude_api_key"), secret("after"), None).await.unwrap();
    assert_eq!(plain(client.get(business, name("grok_api_key")).await.unwrap()).as_deref(), Some("before"));
}
