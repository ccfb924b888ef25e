//! What a watcher hears, and what it may have missed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

mod support;

use std::sync::LazyLock;
use std::time::Duration;

use app_secrets::{CacheOptions, Client, Error, Event, Filter, ListenerState, Options, SecretName, Watcher};
use sqlx::PgConnection;
use support::proxy::Proxy;
use support::{admin, client, name, new_business, new_businesses, patient, plain, run, secret, service_url};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

static NAME: LazyLock<SecretName> = LazyLock::new(|| name("grok_api_key"));
static OTHER: LazyLock<SecretName> = LazyLock::new(|| name("claude_api_key"));

async fn next(watcher: &Watcher) -> Event {
    timeout(Duration::from_secs(20), watcher.next()).await.expect("an event").expect("an open watcher")
}

/// The next change. A `Resync` may come at any time.
async fn change(watcher: &Watcher) -> Event {
    loop {
        match next(watcher).await {
            Event::Resync => {}
            changed @ Event::Changed { .. } => return changed,
        }
    }
}

/// A watcher that hears, after the `Resync` that says so.
async fn watch(client: &Client, filter: Filter) -> Watcher {
    let watcher = client.watch(filter).unwrap();
    if client.stats().listener.state != ListenerState::Listening {
        assert_eq!(next(&watcher).await, Event::Resync);
    }
    watcher
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited in vain for: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn notify(admin: &mut PgConnection, payload: &str) {
    let payload = payload.replace('\'', "''");
    run(admin, format!("select pg_catalog.pg_notify('business_secrets_changed', '{payload}')")).await;
}

/// Other tests change other businesses in the same database.
fn of(business: Uuid) -> Filter {
    Filter { business: Some(business), ..Filter::default() }
}

#[tokio::test]
async fn a_change_is_told_with_its_names_and_versions_whoever_makes_it() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let (writer, reader) = (client(patient()), client(patient()));
    let watcher = watch(&reader, of(business)).await;
    let version = writer.set(business, *NAME, secret("one"), None).await.unwrap();
    assert_eq!(change(&watcher).await, Event::Changed { business, versions: vec![(*NAME, version)] });
    run(&mut admin, format!("update public.businesses set claude_api_key = 'sk' where id = '{business}'"))
        .await;
    let Event::Changed { versions, .. } = change(&watcher).await else { panic!("no change") };
    assert!(
        matches!(versions.as_slice(), [(name, other)] if *name == *OTHER && *other > version),
        "{versions:?}"
    );
    assert_eq!(plain(reader.get(business, *OTHER).await.unwrap()).as_deref(), Some("sk"));
    run(&mut admin, format!("delete from public.businesses where id = '{business}'")).await;
    let Event::Changed { mut versions, .. } = change(&watcher).await else { panic!("no change") };
    versions.sort();
    assert_eq!(versions.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [*NAME, *OTHER]);
}

#[tokio::test]
async fn only_what_the_filter_names_is_told() {
    let businesses = new_businesses(&mut admin().await, 2).await;
    let client = client(patient());
    let filter = Filter { business: Some(businesses[0]), names: (*NAME).into() };
    let watcher = watch(&client, filter).await;
    client.set(businesses[1], *NAME, secret("x"), None).await.unwrap();
    client.set(businesses[0], *OTHER, secret("x"), None).await.unwrap();
    let version = client.set(businesses[0], *NAME, secret("x"), None).await.unwrap();
    let expected = Event::Changed { business: businesses[0], versions: vec![(*NAME, version)] };
    assert_eq!(change(&watcher).await, expected);
}

#[tokio::test]
async fn a_listener_that_is_ended_comes_back_and_everything_cached_is_dropped() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let name = format!("ended {}", business.simple());
    let cache = Some(CacheOptions::default());
    let client = client(Options { cache, application_name: Some(name.clone()), ..patient() });
    let watcher = client.watch(of(business)).unwrap();
    assert_eq!(next(&watcher).await, Event::Resync);
    client.set(business, *NAME, secret("old"), None).await.unwrap();
    next(&watcher).await;
    for round in 1..4 {
        assert!(client.get(business, *NAME).await.unwrap().is_some());
        let end = format!("where application_name = '{name} listener'");
        // What changes while nobody listens is told to nobody.
        run(&mut admin, format!("select pg_terminate_backend(pid) from pg_stat_activity {end}")).await;
        run(&mut admin, format!("update public.business_secrets set grok_api_key = 'new {round}' where business_id = '{business}'")).await;
        while next(&watcher).await != Event::Resync {}
        assert_eq!(plain(client.get(business, *NAME).await.unwrap()), Some(format!("new {round}")));
        assert_eq!(client.stats().listener.reconnects, round);
    }
    assert!(client.stats().listener.last_error.is_some());
}

#[tokio::test]
async fn forged_and_garbled_notifications_cost_a_read_at_the_most() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(Options { cache: Some(CacheOptions::default()), ..patient() });
    let watcher = client.watch(of(business)).unwrap();
    assert_eq!(next(&watcher).await, Event::Resync);
    client.set(business, *NAME, secret("xai"), None).await.unwrap();
    next(&watcher).await;
    client.get(business, *NAME).await.unwrap();
    for garbled in [
        "",
        "{",
        "null",
        "\u{1f600}",
        r#"{"business_id": "'; drop table businesses; --"}"#,
        &"x".repeat(7999),
    ] {
        notify(&mut admin, garbled).await;
    }
    notify(
        &mut admin,
        &format!(r#"{{"business_id": "{business}", "versions": {{"grok_api_key": 9007199254740991}}}}"#),
    )
    .await;
    assert_eq!(
        next(&watcher).await,
        Event::Changed { business, versions: vec![(*NAME, 9_007_199_254_740_991)] }
    );
    let before = client.stats();
    for _ in 0..5 {
        assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("xai"));
    }
    let after = client.stats();
    assert_eq!((after.batches - before.batches, after.hits - before.hits), (1, 4));
    // A genuine change is heard as before.
    let version = client.set(business, *NAME, secret("new"), None).await.unwrap();
    assert_eq!(change(&watcher).await, Event::Changed { business, versions: vec![(*NAME, version)] });
}

#[tokio::test]
async fn a_flood_is_merged_and_bounded_and_what_follows_it_is_heard() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let client = client(Options { cache: Some(CacheOptions::default()), ..patient() });
    let (one, all) = (client.watch(of(business)).unwrap(), client.watch(Filter::default()).unwrap());
    assert_eq!(next(&one).await, Event::Resync);
    let flood = "select pg_catalog.pg_notify('business_secrets_changed', pg_catalog.format(
        '{\"business_id\": \"%s\", \"versions\": {\"grok_api_key\": 0}}', id))";
    run(&mut admin, format!("{flood} from generate_series(1, 20000) n, (values ('{business}')) b(id)")).await;
    run(
        &mut admin,
        format!("{flood} from (select n, gen_random_uuid() as id from generate_series(1, 20000) n) b"),
    )
    .await;
    let (version, mut told) = (client.set(business, *NAME, secret("last"), None).await.unwrap(), 0);
    loop {
        told += 1;
        let Event::Changed { versions, .. } = next(&one).await else { panic!("nothing was lost") };
        if versions == [(*NAME, version)] {
            break;
        }
    }
    assert!(told < 20_000, "{told} events");
    assert_eq!(next(&all).await, Event::Resync);
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("last"));
}

#[tokio::test]
async fn a_listener_runs_only_while_somebody_needs_it_and_leaves_no_session_behind() {
    let mut admin = admin().await;
    let name = format!("needed {}", new_business(&mut admin).await.simple());
    let client = client(Options { application_name: Some(name.clone()), ..patient() });
    client.ping().await.unwrap();
    assert_eq!(client.stats().listener.state, ListenerState::Off);
    for _ in 0..2 {
        let (one, other) = (watch(&client, Filter::default()).await, watch(&client, Filter::default()).await);
        drop(one);
        assert_eq!(client.stats().listener.state, ListenerState::Listening);
        other.close();
        assert_eq!(timeout(Duration::from_secs(1), other.next()).await.unwrap(), None);
        assert_eq!(client.stats().listener.state, ListenerState::Off);
        sessions_end(&mut admin, &format!("{name} listener")).await;
    }
    let last = watch(&client, Filter::default()).await;
    client.close().await;
    assert_eq!(timeout(Duration::from_secs(1), last.next()).await.unwrap(), None);
    assert!(matches!(client.watch(Filter::default()), Err(Error::Closed)));
    sessions_end(&mut admin, &format!("{name} listener")).await;
}

async fn sessions_end(admin: &mut PgConnection, name: &str) {
    let begun = Instant::now();
    let count = "select count(*) from pg_catalog.pg_stat_activity where application_name = $1";
    while sqlx::query_scalar::<_, i64>(count).bind(name).fetch_one(&mut *admin).await.unwrap() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "a session is left");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_session_that_falls_silent_is_noticed_and_replaced() {
    let proxy = Proxy::to(&service_url()).await;
    let client =
        client(Options { url: Some(proxy.url()), cache: Some(CacheOptions::default()), ..patient() });
    until("the listener", || client.stats().listener.state == ListenerState::Listening).await;
    proxy.hang(true);
    // The clock leaps wherever everybody waits: fifteen seconds of silence and five of patience pass at once.
    tokio::time::pause();
    until("the silence to be noticed", || client.stats().listener.state == ListenerState::Connecting).await;
    tokio::time::resume();
    proxy.disconnect();
    proxy.hang(false);
    until("the listener's return", || client.stats().listener.state == ListenerState::Listening).await;
    assert!(client.stats().listener.last_error.unwrap().contains("no sign of life"));
}

#[tokio::test]
async fn a_database_that_is_away_at_first_is_listened_to_when_it_comes() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.refuse(true);
    let client = client(Options { url: Some(proxy.url()), ..patient() });
    let watcher = client.watch(Filter::default()).unwrap();
    until("a failure", || client.stats().listener.last_error.is_some()).await;
    assert_eq!(client.stats().listener.state, ListenerState::Connecting);
    proxy.refuse(false);
    assert_eq!(next(&watcher).await, Event::Resync);
    assert_eq!(client.stats().listener.reconnects, 0);
}

#[tokio::test]
async fn a_direct_connection_hears_for_a_client_behind_a_transaction_pooler() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.pool_transactions();
    let mut options =
        Options { url: Some(proxy.url()), pooler: app_secrets::Pooler::Transaction, ..patient() };
    let deaf = client(options.clone());
    let _watcher = deaf.watch(Filter::default()).unwrap();
    assert_eq!(deaf.stats().listener.state, ListenerState::Unavailable);

    options.listen_url = Some(service_url().into());
    let hearing = client(options);
    let business = new_business(&mut admin().await).await;
    let watcher = watch(&hearing, of(business)).await;
    let version = hearing.set(business, *NAME, secret("x"), None).await.unwrap();
    assert_eq!(change(&watcher).await, Event::Changed { business, versions: vec![(*NAME, version)] });
}
