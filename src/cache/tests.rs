//! Claims about time, room and races. The clock stands still unless a test moves it.

#![expect(clippy::option_option, clippy::unnecessary_wraps, reason = "as what they are compared with")]

use std::num::NonZeroUsize;

use secrecy::ExposeSecret;
use tokio::time::advance;

use super::*;
use crate::error::Error;

const BUSINESS: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn gemini() -> SecretName {
    name("gemini_api_key")
}

fn grok() -> SecretName {
    name("grok_api_key")
}

fn cache(change: impl FnOnce(&mut CachePolicy)) -> Arc<Cache> {
    let mut policy = CachePolicy {
        ttl: Duration::from_mins(1),
        negative_ttl: Duration::from_secs(5),
        max_stale: Duration::ZERO,
        max_entries: NonZeroUsize::new(1000).unwrap(),
    };
    change(&mut policy);
    Arc::new(Cache::new(policy, Arc::default()))
}

fn read(name: SecretName, value: Option<&str>, version: i64) -> (SecretName, Result<Reading>) {
    (name, Ok(Reading { value: value.map(SecretString::from), version }))
}

fn begin_read(cache: &Arc<Cache>, business: Uuid) -> ReadGuard {
    cache.begin_read(business, 1)
}

fn put(cache: &Arc<Cache>, business: Uuid, readings: &[(SecretName, Result<Reading>)]) {
    begin_read(cache, business).store(readings);
}

fn known(cache: &Cache, business: Uuid, name: SecretName) -> Option<Option<String>> {
    cache.get(business, name).map(|value| value.map(|value| value.expose_secret().to_owned()))
}

fn value(text: &str) -> Option<Option<String>> {
    Some(Some(text.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_value_lives_for_its_ttl_give_or_take_a_tenth() {
    let cache = cache(|_| {});
    for _ in 0..50 {
        put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
        advance(Duration::from_millis(53_999)).await;
        assert_eq!(known(&cache, BUSINESS, grok()), value("xai"));
        advance(Duration::from_millis(12_002)).await;
        assert_eq!(known(&cache, BUSINESS, grok()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_set_is_asked_for_again_sooner() {
    let cache = cache(|_| {});
    put(&cache, BUSINESS, &[read(grok(), None, 0), read(gemini(), Some("AIza"), 1)]);
    assert_eq!(known(&cache, BUSINESS, grok()), Some(None));
    advance(Duration::from_secs(6)).await;
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    assert_eq!(known(&cache, BUSINESS, gemini()), value("AIza"));
    assert_eq!(cache.counters.negative_hits.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn secrets_stored_one_after_another_do_not_expire_together() {
    let cache = cache(|_| {});
    for business in 0..1000 {
        put(&cache, Uuid::from_u128(business), &[read(grok(), Some("xai"), 1)]);
    }
    advance(Duration::from_mins(1)).await;
    let alive = (0..1000).filter(|business| cache.get(Uuid::from_u128(*business), grok()).is_some()).count();
    assert!((300..700).contains(&alive), "{alive}");
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_makes_room() {
    let cache = cache(|policy| policy.max_entries = NonZeroUsize::new(2).unwrap());
    put(&cache, BUSINESS, &[read(grok(), Some("a"), 1)]);
    put(&cache, BUSINESS, &[read(gemini(), Some("b"), 1)]);
    assert!(cache.get(BUSINESS, grok()).is_some());
    put(&cache, OTHER, &[read(grok(), Some("c"), 1)]);
    assert_eq!(known(&cache, BUSINESS, gemini()), None);
    assert_eq!(known(&cache, BUSINESS, grok()), value("a"));
    assert_eq!(known(&cache, OTHER, grok()), value("c"));
    assert_eq!((cache.len(), cache.counters.evictions.get()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_answered_together_only_from_one_snapshot() {
    let cache = cache(|_| {});
    let pair = NameSet::from_iter([name("kling_access_key"), name("kling_secret_key")]);
    let [access, secret] = [name("kling_access_key"), name("kling_secret_key")];
    put(&cache, BUSINESS, &[read(access, Some("a1"), 1), read(secret, Some("s1"), 1)]);
    assert_eq!(cache.get_many(BUSINESS, &pair).unwrap().len(), 2);
    put(&cache, BUSINESS, &[read(access, Some("a2"), 2)]);
    assert!(cache.get_many(BUSINESS, &pair).is_none());
    assert_eq!(known(&cache, BUSINESS, access), value("a2"));
}

#[tokio::test(start_paused = true)]
async fn a_read_from_before_a_change_is_never_stored_after_it() {
    let cache = cache(|_| {});
    let spoil: [fn(&Arc<Cache>); 5] = [
        |cache| cache.changed(BUSINESS, &[(grok(), 2)]),
        |cache| cache.forget(BUSINESS, &grok().into()),
        |cache| cache.clear(),
        |cache| drop(cache.begin_write(BUSINESS, grok().into())),
        |cache| std::mem::forget(cache.begin_write(BUSINESS, grok().into())),
    ];
    for spoil in spoil {
        let reading = begin_read(&cache, BUSINESS);
        spoil(&cache);
        reading.store(&[read(grok(), Some("before"), 1)]);
        assert_eq!(known(&cache, BUSINESS, grok()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_an_own_write_does_not_keep_what_was_read_after_it_from_being_stored() {
    let cache = cache(|_| {});
    let reading = begin_read(&cache, BUSINESS);
    cache.changed(BUSINESS, &[(grok(), 2)]);
    reading.store(&[read(grok(), Some("new"), 2), read(gemini(), Some("AIza"), 1)]);
    assert_eq!(known(&cache, BUSINESS, grok()), value("new"));
    assert_eq!(known(&cache, BUSINESS, gemini()), value("AIza"));
}

#[tokio::test(start_paused = true)]
async fn while_a_write_is_under_way_nothing_of_its_business_is_stored() {
    let cache = cache(|_| {});
    put(&cache, BUSINESS, &[read(grok(), Some("old"), 1)]);
    let writing = cache.begin_write(BUSINESS, grok().into());
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    put(&cache, BUSINESS, &[read(grok(), Some("old"), 1)]);
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    put(&cache, OTHER, &[read(grok(), Some("theirs"), 1)]);
    assert_eq!(known(&cache, OTHER, grok()), value("theirs"));
    drop(writing);
    put(&cache, BUSINESS, &[read(grok(), Some("new"), 2)]);
    assert_eq!(known(&cache, BUSINESS, grok()), value("new"));
}

#[tokio::test(start_paused = true)]
async fn a_notification_of_what_is_known_already_changes_nothing() {
    let cache = cache(|_| {});
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 3), read(gemini(), Some("AIza"), 1)]);
    cache.changed(BUSINESS, &[(grok(), 3), (gemini(), 1)]);
    cache.changed(OTHER, &[(grok(), 9)]);
    assert_eq!(known(&cache, BUSINESS, grok()), value("xai"));
    cache.changed(BUSINESS, &[(grok(), 4)]);
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    assert_eq!(known(&cache, BUSINESS, gemini()), value("AIza"));
    assert_eq!(cache.counters.invalidations.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forged_version_costs_one_read() {
    let cache = cache(|_| {});
    cache.changed(BUSINESS, &[(grok(), i64::MAX)]);
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 3)]);
    assert_eq!(known(&cache, BUSINESS, grok()), value("xai"));
}

#[tokio::test(start_paused = true)]
async fn an_older_version_does_not_replace_a_newer_one() {
    let cache = cache(|_| {});
    let (slow, fast) = (begin_read(&cache, BUSINESS), begin_read(&cache, BUSINESS));
    fast.store(&[read(grok(), Some("new"), 2)]);
    slow.store(&[read(grok(), Some("old"), 1)]);
    assert_eq!(known(&cache, BUSINESS, grok()), value("new"));
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_stands_in_only_within_its_bound() {
    let cache = cache(|policy| policy.max_stale = Duration::from_secs(30));
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
    advance(Duration::from_secs(67)).await;
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    assert_eq!(cache.stale(BUSINESS, &grok().into()).unwrap().len(), 1);
    assert_eq!(cache.counters.stale_served.get(), 1);
    advance(Duration::from_secs(30)).await;
    assert!(cache.stale(BUSINESS, &grok().into()).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_expires_all_at_once_stands_in_within_the_same_bound() {
    let cache = cache(|policy| policy.max_stale = Duration::from_secs(30));
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
    cache.expire_all();
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    advance(Duration::from_secs(29)).await;
    assert!(cache.stale(BUSINESS, &grok().into()).is_some());
    advance(Duration::from_secs(2)).await;
    assert!(cache.stale(BUSINESS, &grok().into()).is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_stands_in_for_what_was_dropped() {
    let cache = cache(|policy| policy.max_stale = Duration::from_hours(1));
    let drop_it: [fn(&Arc<Cache>); 4] = [
        |cache| cache.changed(BUSINESS, &[(grok(), 2)]),
        |cache| cache.forget(BUSINESS, &grok().into()),
        |cache| cache.clear(),
        |cache| put(cache, BUSINESS, &[(grok(), Err(Error::DecryptFailed { names: vec![grok()] }))]),
    ];
    for drop_it in drop_it {
        put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
        drop_it(&cache);
        assert!(cache.stale(BUSINESS, &grok().into()).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_cache_knows_nothing_and_learns_nothing() {
    let cache = cache(|_| {});
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
    cache.close();
    assert_eq!(known(&cache, BUSINESS, grok()), None);
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
    assert_eq!(known(&cache, BUSINESS, grok()), None);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asks_for_again_is_wiped() {
    let cache = cache(|_| {});
    let sweeper = tokio::spawn(Cache::sweep(Arc::downgrade(&cache)));
    put(&cache, BUSINESS, &[read(grok(), Some("xai"), 1)]);
    sleep(Duration::from_secs(121)).await;
    assert_eq!(cache.len(), 0);
    drop(cache);
    sleep(Duration::from_secs(61)).await;
    assert!(sweeper.is_finished());
}

#[test]
fn debug_shows_no_value() {
    let cache = cache(|_| {});
    put(&cache, BUSINESS, &[read(grok(), Some("sk_live_4711"), 1)]);
    let entry = Entry::new(Some(Arc::new("sk_live_4711".into())), 1, 1, Duration::ZERO, Duration::ZERO);
    assert!(!format!("{cache:?} {entry:?}").contains("sk_live"));
}
