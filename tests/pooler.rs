//! Behind a transaction pooler, where nothing but a transaction stays on one server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::sync::LazyLock;

use app_secrets::{Code, Options, Pooler, SecretName};
use support::proxy::{PARSE, Proxy, QUERY};
use support::{admin, client, name, new_business, patient, plain, secret, service_url};

static NAME: LazyLock<SecretName> = LazyLock::new(|| name("grok_api_key"));

#[tokio::test]
async fn everything_works_where_it_is_told() {
    everything_works(Pooler::Transaction).await;
}

#[tokio::test]
async fn everything_works_where_it_has_to_be_found_out() {
    everything_works(Pooler::Auto).await;
}

async fn everything_works(pooler: Pooler) {
    let proxy = Proxy::to(&service_url()).await;
    proxy.pool_transactions();
    let client = client(Options { url: Some(proxy.url()), pooler, ..patient() });
    let business = new_business(&mut admin().await).await;
    for round in 1..4 {
        let value = format!("it's {round}");
        assert!(client.set(business, *NAME, secret(&value), None).await.unwrap() > 0);
        assert_eq!(plain(client.get(business, *NAME).await.unwrap()), Some(value));
        assert_eq!(client.list(business).await.unwrap().len(), 12);
    }
    let refused = client.set(business, *NAME, secret("x"), Some(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::VersionConflict);
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("it's 3"));
}

#[tokio::test]
async fn a_read_is_one_round_trip_without_a_prepared_statement() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.pool_transactions();
    let client = client(Options { url: Some(proxy.url()), pooler: Pooler::Transaction, ..patient() });
    let business = new_business(&mut admin().await).await;
    client.get(business, *NAME).await.unwrap();
    client.get(business, *NAME).await.unwrap();
    assert_eq!((proxy.sent(QUERY), proxy.sent(PARSE)), (2, 0));
}

#[tokio::test]
async fn told_that_there_is_none_the_client_does_not_look_for_one() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.pool_transactions();
    let client = client(Options { url: Some(proxy.url()), pooler: Pooler::None, ..patient() });
    let business = new_business(&mut admin().await).await;
    assert!(client.get(business, *NAME).await.is_err());
}
