//! What is cached, and when it is not trusted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use app_secrets::{CacheOptions, Client, Code, ListenerState, NameSet, Options, SecretName};
use support::proxy::{EXECUTE, Proxy};
use support::{admin, client, name, new_business, new_businesses, patient, plain, run, secret, service_url};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const NAMES: [&str; 3] = ["gemini_api_key", "grok_api_key", "claude_api_key"];
static NAME: LazyLock<SecretName> = LazyLock::new(|| name("grok_api_key"));

fn cached() -> Options {
    Options { cache: Some(CacheOptions::default()), ..patient() }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn listening(client: &Client) {
    until("the listener", || client.stats().listener.state == ListenerState::Listening).await;
}

#[tokio::test]
async fn a_hit_costs_no_round_trip() {
    let proxy = Proxy::to(&service_url()).await;
    let client = client(Options { url: Some(proxy.url()), ..cached() });
    let business = new_business(&mut admin().await).await;
    client.set(business, *NAME, secret("xai"), None).await.unwrap();
    listening(&client).await;
    assert!(client.get(business, *NAME).await.unwrap().is_some());
    let sent = proxy.sent(EXECUTE);
    for _ in 0..10 {
        assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("xai"));
        assert!(client.get_many(business, (*NAME).into()).await.is_ok());
    }
    assert_eq!(proxy.sent(EXECUTE), sent);
    let stats = client.stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (20, 1, 1));
}

#[tokio::test]
async fn what_is_not_set_is_cached_and_counted_as_such() {
    let client = client(cached());
    let business = new_business(&mut admin().await).await;
    listening(&client).await;
    for _ in 0..3 {
        assert!(client.get(business, *NAME).await.unwrap().is_none());
    }
    let stats = client.stats();
    assert_eq!((stats.hits, stats.negative_hits, stats.batches), (2, 2, 1));
}

#[tokio::test]
async fn changes_from_another_process_and_from_plain_sql_are_seen_by_every_client() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let (one, other) = (client(cached()), client(cached()));
    listening(&one).await;
    listening(&other).await;
    for round in 1..6 {
        let by_client = format!("client {round}");
        one.set(business, *NAME, secret(&by_client), None).await.unwrap();
        assert_eq!(plain(one.get(business, *NAME).await.unwrap()).as_deref(), Some(by_client.as_str()));
        seen(&[&one, &other], business, Some(&by_client)).await;

        let by_sql = format!("sql {round}");
        let update = "update public.business_secrets set grok_api_key";
        run(&mut admin, format!("{update} = '{by_sql}' where business_id = '{business}'")).await;
        seen(&[&one, &other], business, Some(&by_sql)).await;
    }
    run(&mut admin, format!("delete from public.business_secrets where business_id = '{business}'")).await;
    seen(&[&one, &other], business, None).await;
}

/// The TTL is a minute: only a notification can bring this about.
async fn seen(clients: &[&Client], business: Uuid, expected: Option<&str>) {
    for client in clients {
        let begun = Instant::now();
        while plain(client.get(business, *NAME).await.unwrap()).as_deref() != expected {
            assert!(begun.elapsed() < Duration::from_secs(45), "a change was not seen");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn where_nothing_is_heard_the_ttl_rules() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.pool_transactions();
    let short = CacheOptions { ttl_ms: Some(15_000), ..CacheOptions::default() };
    let client = client(Options { url: Some(proxy.url()), cache: Some(short), ..patient() });
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    client.set(business, *NAME, secret("old"), None).await.unwrap();
    client.get(business, *NAME).await.unwrap();
    run(
        &mut admin,
        format!("update public.business_secrets set grok_api_key = 'new' where business_id = '{business}'"),
    )
    .await;
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("old"));
    seen(&[&client], business, Some("new")).await;
    until("the pooler to be found out", || client.stats().listener.state == ListenerState::Unavailable).await;
    assert!(client.stats().listener.last_error.unwrap().contains("listenUrl"));
}

#[tokio::test]
async fn an_older_value_stands_in_for_an_outage_only_within_its_bound_and_is_counted() {
    let proxy = Proxy::to(&service_url()).await;
    let bound = CacheOptions { max_stale_ms: Some(30_000), ..CacheOptions::default() };
    let options = Options { url: Some(proxy.url()), cache: Some(bound), ..patient() };
    let client = client(options);
    let business = new_business(&mut admin().await).await;
    client.set(business, *NAME, secret("xai"), None).await.unwrap();
    listening(&client).await;
    client.get(business, *NAME).await.unwrap();

    proxy.refuse(true);
    proxy.disconnect();
    until("the loss to be noticed", || client.stats().listener.state == ListenerState::Connecting).await;
    // From here on the clock leaps wherever everybody waits.
    tokio::time::pause();
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("xai"));
    assert_eq!(client.stats().stale_served, 1);
    // Never read, so nothing stands in for it.
    assert_eq!(client.get(business, name("claude_api_key")).await.unwrap_err().code(), Code::Unavailable);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(client.get(business, *NAME).await.unwrap_err().code(), Code::Unavailable);
    tokio::time::resume();

    proxy.refuse(false);
    listening(&client).await;
    assert_eq!(client.stats().listener.reconnects, 1);
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("xai"));
    assert_eq!(client.stats().stale_served, 1);
}

#[tokio::test]
async fn a_closed_client_answers_nothing_from_its_cache() {
    let client = client(cached());
    let business = new_business(&mut admin().await).await;
    client.get(business, *NAME).await.unwrap();
    client.close().await;
    assert_eq!(client.get(business, *NAME).await.unwrap_err().code(), Code::Closed);
    assert_eq!(client.stats().listener.state, ListenerState::Off);
}

/// What is known of all writes. Each value says whose it is and has a number: `<business> <name> <number>`.
#[derive(Default)]
struct Ledger {
    numbers: AtomicUsize,
    /// By number, once its writer has been told.
    versions: Mutex<HashMap<usize, i64>>,
}

/// One client, and the newest version of each secret that it was told it has written.
struct Actor {
    client: Client,
    ledger: Arc<Ledger>,
    written: Mutex<HashMap<(Uuid, SecretName), i64>>,
}

impl Actor {
    async fn write(&self, business: Uuid, name: SecretName) {
        let number = self.ledger.numbers.fetch_add(1, Ordering::Relaxed);
        let value = secret(&format!("{business} {name} {number}"));
        let version = self.client.set(business, name, value, None).await.unwrap();
        assert!(self.ledger.versions.lock().unwrap().insert(number, version).is_none());
        let mut written = self.written.lock().unwrap();
        let newest = written.entry((business, name)).or_default();
        *newest = version.max(*newest);
    }

    async fn read(&self, business: Uuid, names: NameSet) {
        let before = self.written.lock().unwrap().clone();
        let values = match names.iter().collect::<Vec<_>>()[..] {
            [name] => vec![(name, self.client.get(business, name).await.unwrap())],
            _ => self.client.get_many(business, names).await.unwrap(),
        };
        for (name, value) in values {
            let newest = before.get(&(business, name)).copied().unwrap_or_default();
            let Some(value) = plain(value) else {
                assert_eq!(newest, 0, "a value of its own is gone");
                continue;
            };
            let number =
                value.strip_prefix(&format!("{business} {name} ")).expect("its own value and nobody else's");
            // Of a write that is still under way nothing is known yet, but that it is new.
            let version = self.ledger.versions.lock().unwrap().get(&number.parse().unwrap()).copied();
            assert!(
                version.is_none_or(|version| version >= newest),
                "{version:?} after having written {newest}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_reads_an_older_version_than_it_wrote_nor_another_business_s_value() {
    const OPERATIONS: usize = 10_000;
    const TASKS: usize = 24;
    let businesses = new_businesses(&mut admin().await, 6).await;
    let ledger = Arc::<Ledger>::default();
    // Small, so that eviction takes part.
    let small = CacheOptions { max_entries: Some(12), ..CacheOptions::default() };
    let actors: Vec<Arc<Actor>> = (0..3)
        .map(|_| {
            let options = Options { cache: Some(small), max_connections: Some(3), ..patient() };
            let (client, ledger) = (client(options), Arc::clone(&ledger));
            Arc::new(Actor { client, ledger, written: Mutex::default() })
        })
        .collect();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (actor, businesses) = (Arc::clone(&actors[task % actors.len()]), businesses.clone());
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(task as u64);
                for _ in 0..OPERATIONS / TASKS {
                    let business = businesses[random.usize(..businesses.len())];
                    let one = name(NAMES[random.usize(..3)]);
                    match random.u8(..20) {
                        0 => actor.write(business, one).await,
                        1..8 => actor.read(business, NAMES.map(name).into_iter().collect()).await,
                        _ => actor.read(business, one.into()).await,
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for actor in &actors {
        let stats = actor.client.stats();
        assert!(stats.hits > 100 && stats.evictions > 0 && stats.invalidations > 0, "{stats:?}");
    }
}
