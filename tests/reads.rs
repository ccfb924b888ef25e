//! Reads against a real database.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use app_secrets::{Code, NameSet, Options};
use support::proxy::{EXECUTE, Proxy};
use support::{admin, client, name, new_business, new_businesses, patient, plain, run, secret, service_url};
use tokio::task::JoinSet;
use uuid::Uuid;

#[tokio::test]
async fn a_secret_reads_back_as_it_was_written_but_for_white_space_around_it() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    let value = "\u{feff} a\"b\\c\tд🦀\u{1} \n";
    client.set(business, name("grok_api_key"), secret(value), None).await.unwrap();
    let read = client.get(business, name("grok_api_key")).await.unwrap();
    assert_eq!(plain(read).unwrap(), "a\"b\\c\tд🦀\u{1}");
}

#[tokio::test]
async fn none_means_not_set_and_a_missing_business_is_an_error() {
    let (client, business) = (client(patient()), new_business(&mut admin().await).await);
    assert!(client.get(business, name("grok_api_key")).await.unwrap().is_none());
    let missing = client.get(Uuid::from_u128(1), name("grok_api_key")).await.unwrap_err();
    assert_eq!(missing.code(), Code::BusinessNotFound);
}

#[tokio::test]
async fn all_twelve_secrets_come_in_one_round_trip() {
    let proxy = Proxy::to(&service_url()).await;
    let client = client(Options { url: Some(proxy.url()), ..patient() });
    let business = new_business(&mut admin().await).await;
    let listed = support::client(patient()).list(business).await.unwrap();
    let all: NameSet = listed.iter().map(|secret| secret.name).collect();
    assert!(all.len() > 3);
    let values = client.get_many(business, all.clone()).await.unwrap();
    assert_eq!(values.iter().map(|(name, _)| *name).collect::<NameSet>(), all);
    assert_eq!(values.len(), all.len());
    assert_eq!(proxy.sent(EXECUTE), 1);
}

#[tokio::test]
async fn an_undecryptable_secret_never_fails_its_neighbours() {
    let mut admin = admin().await;
    let (client, business) = (client(patient()), new_business(&mut admin).await);
    for name in [name("grok_api_key"), name("gemini_api_key")] {
        client.set(business, name, secret("sk"), None).await.unwrap();
    }
    run(
        &mut admin,
        format!("delete from vault.secrets where name = 'business_secrets/{business}/grok_api_key'"),
    )
    .await;

    let (lost, kept) = tokio::join!(
        client.get(business, name("grok_api_key")),
        client.get(business, name("gemini_api_key")),
    );
    assert_eq!(lost.unwrap_err().code(), Code::DecryptFailed);
    assert_eq!(plain(kept.unwrap()).as_deref(), Some("sk"));

    let both =
        client.get_many(business, NameSet::from_iter([name("grok_api_key"), name("gemini_api_key")])).await;
    let message = both.unwrap_err().to_string();
    assert!(message.starts_with("grok_api_key cannot be decrypted"), "{message}");

    client.set(business, name("grok_api_key"), secret("healed"), None).await.unwrap();
    assert_eq!(plain(client.get(business, name("grok_api_key")).await.unwrap()).as_deref(), Some("healed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reads_at_once_never_hand_one_business_anothers_secret() {
    let businesses = new_businesses(&mut admin().await, 100).await;
    let client = client(patient());
    for business in &businesses {
        client.set(*business, name("grok_api_key"), secret(&business.to_string()), None).await.unwrap();
    }
    let mut reads = JoinSet::new();
    for at in 0..1000 {
        let (client, business) = (client.clone(), businesses[at * 7 % businesses.len()]);
        reads.spawn(async move {
            let read = client.get(business, name("grok_api_key")).await.unwrap();
            assert_eq!(plain(read).unwrap(), business.to_string());
        });
    }
    while let Some(read) = reads.join_next().await {
        read.unwrap();
    }
}

#[tokio::test]
async fn reads_that_wait_together_travel_together() {
    let proxy = Proxy::to(&service_url()).await;
    let client = client(Options { url: Some(proxy.url()), max_connections: Some(1), ..patient() });
    let businesses = new_businesses(&mut admin().await, 300).await;
    client.ping().await.unwrap();

    let reads = businesses.iter().map(|business| client.get(*business, name("grok_api_key")));
    for read in futures(reads).await {
        read.unwrap();
    }
    // The first goes at once; the others gather while it is on the wire.
    assert_eq!(proxy.sent(EXECUTE), 2);
}

#[tokio::test]
async fn identical_reads_at_the_same_time_are_one_read() {
    let proxy = Proxy::to(&service_url()).await;
    let client = client(Options { url: Some(proxy.url()), ..patient() });
    let business = new_business(&mut admin().await).await;
    client.set(business, name("grok_api_key"), secret("shared"), None).await.unwrap();
    let before = proxy.sent(EXECUTE);
    for read in futures((0..200).map(|_| client.get(business, name("grok_api_key")))).await {
        assert_eq!(plain(read.unwrap()).as_deref(), Some("shared"));
    }
    assert_eq!(proxy.sent(EXECUTE) - before, 1);
}

/// Polls all of them, in order, until all are done.
async fn futures<T>(work: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut work: Vec<_> = work.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = work.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (work, done) in work.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = work.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
