//! What a call comes to when the connection or the server fails.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use std::sync::LazyLock;

use app_secrets::{Code, Options, SecretName};
use sqlx::{Connection, Executor};
use support::proxy::{EXECUTE, Proxy};
use support::{admin, client, name, new_business, patient, plain, run, secret, service_url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

static NAME: LazyLock<SecretName> = LazyLock::new(|| name("grok_api_key"));

fn through(proxy: &Proxy, options: Options) -> app_secrets::Client {
    client(Options { url: Some(proxy.url()), ..options })
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_the_deadline_and_the_next_call_starts_afresh() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, Options { timeout_ms: Some(1000), ..Options::default() });
    let business = new_business(&mut admin().await).await;
    client.get(business, *NAME).await.unwrap();

    proxy.hang(true);
    let begun = Instant::now();
    let (read, list, queued) =
        tokio::join!(client.get(business, *NAME), client.list(business), client.ping());
    assert_eq!(read.unwrap_err().code(), Code::Timeout);
    assert_eq!(list.unwrap_err().code(), Code::Timeout);
    assert_eq!(queued.unwrap_err().code(), Code::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    proxy.hang(false);
    client.get(business, *NAME).await.unwrap();
}

#[tokio::test]
async fn an_attempt_to_connect_that_hangs_fails_nobody_who_came_after_it() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, Options { timeout_ms: Some(5000), ..Options::default() });
    let business = new_business(&mut admin().await).await;

    proxy.hang(true);
    let early = client.get(business, *NAME);
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.hang(false);
        client.list(business).await
    };
    // The first call may be served by a later attempt, or give up before: that is not the point.
    let (_, late) = tokio::join!(early, late);
    late.unwrap();
}

#[tokio::test]
async fn statements_that_wait_hold_up_nobody_else() {
    let mut admin = admin().await;
    let businesses = support::new_businesses(&mut admin, 3).await;
    let client = client(patient());
    client.set(businesses[0], *NAME, secret("kept"), None).await.unwrap();

    let mut lock = admin.begin().await.unwrap();
    lock.execute("lock table public.business_secrets in exclusive mode").await.unwrap();
    let blocked = businesses.iter().map(|business| {
        let (client, business) = (client.clone(), *business);
        tokio::spawn(async move { client.set(business, *NAME, secret("late"), None).await })
    });
    let blocked: Vec<_> = blocked.collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let read = tokio::time::timeout(Duration::from_secs(5), client.get(businesses[0], *NAME)).await.unwrap();
    assert_eq!(plain(read.unwrap()).as_deref(), Some("kept"));
    assert!(blocked.iter().all(|write| !write.is_finished()));

    lock.rollback().await.unwrap();
    for write in blocked {
        write.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_not_called_failed_and_never_repeated() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, patient());
    let business = new_business(&mut admin().await).await;
    client.set(business, *NAME, secret("one"), None).await.unwrap();

    let before = proxy.sent(EXECUTE);
    proxy.cut_next_answer();
    let unknown = client.set(business, *NAME, secret("two"), None).await.unwrap_err();
    assert_eq!(unknown.code(), Code::UnknownOutcome, "{unknown}");
    assert_eq!(proxy.sent(EXECUTE) - before, 1);
    // It was carried out, which is why repeating it would have been wrong to do blindly.
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("two"));
}

#[tokio::test]
async fn a_read_without_an_answer_is_repeated_on_a_fresh_connection() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, patient());
    let business = new_business(&mut admin().await).await;
    client.set(business, *NAME, secret("one"), None).await.unwrap();

    proxy.cut_next_answer();
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()).as_deref(), Some("one"));
}

#[tokio::test]
async fn a_server_that_says_farewell_did_not_carry_the_write_out_so_it_is_repeated() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, patient());
    let business = new_business(&mut admin().await).await;
    let first = client.set(business, *NAME, secret("one"), None).await.unwrap();

    proxy.say_farewell();
    assert!(client.set(business, *NAME, secret("two"), None).await.unwrap() > first);
}

#[tokio::test]
async fn a_write_is_not_entrusted_to_a_connection_that_died_in_silence() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, patient());
    let business = new_business(&mut admin().await).await;
    let first = client.set(business, *NAME, secret("one"), None).await.unwrap();

    proxy.disconnect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(client.set(business, *NAME, secret("two"), None).await.unwrap() > first);
}

#[tokio::test]
async fn a_restart_of_the_server_goes_unnoticed_by_reads() {
    let proxy = Proxy::to(&service_url()).await;
    let client = through(&proxy, patient());
    let business = new_business(&mut admin().await).await;
    client.get(business, *NAME).await.unwrap();

    proxy.refuse(true);
    proxy.disconnect();
    let back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.refuse(false);
    };
    let (read, ()) = tokio::join!(client.get(business, *NAME), back);
    read.unwrap();
}

#[tokio::test]
async fn a_database_that_is_away_is_named_with_its_cause_and_found_again_when_it_is_back() {
    let proxy = Proxy::to(&service_url()).await;
    proxy.refuse(true);
    let client = through(&proxy, Options { timeout_ms: Some(20_000), ..Options::default() });
    let business = new_business(&mut admin().await).await;

    let begun = Instant::now();
    let away = client.get(business, *NAME).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);
    assert!(away.is_transient());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());

    proxy.refuse(false);
    client.get(business, *NAME).await.unwrap();
}

#[tokio::test]
async fn a_refused_connection_says_so_and_shows_no_password() {
    let url = "postgres://reader:hunter2@127.0.0.1:1/app";
    let client = client(Options { url: Some(url.to_owned().into()), ..patient() });
    let refused = client.ping().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.to_string().contains("127.0.0.1:1: connection refused"), "{refused}");
    assert!(!format!("{refused:?} {client:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_wrong_password_is_permission_denied_at_once() {
    let mut url = url::Url::parse(&service_url()).unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let client = client(Options { url: Some(url.to_string().into()), ..patient() });
    let begun = Instant::now();
    let denied = client.ping().await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!denied.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_is_refused() {
    let url = service_url();
    let separator = if url.contains('?') { '&' } else { '?' };
    let client =
        client(Options { url: Some(format!("{url}{separator}sslmode=verify-full").into()), ..patient() });
    assert_eq!(client.ping().await.unwrap_err().code(), Code::UnsafeConnection);
}

#[tokio::test]
async fn a_write_whose_transaction_met_another_one_is_repeated_until_it_succeeds() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let id = business.simple();
    // A sequence is not rolled back with the transaction: it counts the attempts.
    run(
        &mut admin,
        format!(
            "create sequence public.attempts_{id};
             create function public.meet_{id}() returns trigger language plpgsql security definer as $$
             begin
                 if new.id = '{business}' and nextval('public.attempts_{id}') <= 2 then
                     raise exception 'met another' using errcode = case currval('public.attempts_{id}')
                         when 1 then '40001' else '40P01' end;
                 end if;
                 return new;
             end $$;
             create trigger meet_{id} before update on public.businesses
                 for each row execute function public.meet_{id}()"
        ),
    )
    .await;
    let outcome = client(patient()).set(business, *NAME, secret("in the end"), None).await;
    let attempts: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select last_value from public.attempts_{id}")))
            .fetch_one(&mut admin)
            .await
            .unwrap();
    run(&mut admin, format!("drop trigger meet_{id} on public.businesses")).await;
    outcome.unwrap();
    assert!(attempts > 2, "{attempts}");
}

/// A server that greets every client with that error. Gives its URL.
async fn greets_with(sqlstate: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://a:b@{}/app?sslmode=disable", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut startup = [0; 1024];
            assert!(client.read(&mut startup).await.unwrap() > 0);
            let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0MTenant or user not found\0\0");
            let mut message = vec![b'E'];
            message.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
            message.extend(fields.as_bytes());
            client.write_all(&message).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn what_refuses_a_connection_is_not_called_a_missing_migration() {
    for (sqlstate, code, words) in [
        ("XX000", Code::Unavailable, "is the user spelled user.<project's reference>"),
        ("42704", Code::Config, "PGOPTIONS"),
    ] {
        let url = greets_with(sqlstate).await;
        let client = client(Options { url: Some(url.into()), ..Options::default() });
        let refused = client.ping().await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

#[tokio::test]
async fn a_write_whose_transaction_the_server_ends_for_its_length_is_a_timeout_and_nothing_of_it_is_left() {
    let mut admin = admin().await;
    let business = new_business(&mut admin).await;
    let id = business.simple();
    run(
        &mut admin,
        format!(
            "create function public.linger_{id}() returns trigger language plpgsql security definer as $$
             begin
                 if new.id = '{business}' then
                     perform set_config('transaction_timeout', '100ms', true);
                     perform pg_sleep(30);
                 end if;
                 return new;
             end $$;
             create trigger linger_{id} before update on public.businesses
                 for each row execute function public.linger_{id}()"
        ),
    )
    .await;
    let client = client(patient());
    let outcome = client.set(business, *NAME, secret("too long"), None).await;
    run(&mut admin, format!("drop trigger linger_{id} on public.businesses")).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), Code::Timeout, "{error}");
    assert_eq!(plain(client.get(business, *NAME).await.unwrap()), None);
}
