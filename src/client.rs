//! The client: checks what it is given, asks the database, and says what came back.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::cache::{Cache, ReadGuard};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::name::{NameSet, SecretName, near_misses};
use crate::pool::Pool;
use crate::pool::bulk::{Bulk, BulkSink, Finish};
use crate::secret::{Due, Lease, Listed, Reading, Readings, Values, Versions};
use crate::stats::{Counters, Stats};
use crate::store::{self, Check, DueWithin, KnownNames, List, Ping, Release, TakeLease, Undo, Write};
use crate::value;
use crate::watch::{ChangeFeed, Filter, Watcher};

/// Reads and writes secrets. Clones share the connections and the cache.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    cache: Option<Arc<Cache>>,
    feed: Arc<ChangeFeed>,
    counters: Arc<Counters>,
    /// The names that the database knows, once a hint needed them.
    known_names: OnceCell<Vec<String>>,
}

impl Client {
    /// Waits for nothing: the database may still be away. Connections are opened as work demands; with a cache, one
    /// that listens for changes is opened at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, which the connections belong to.
    pub fn new(config: Config) -> Self {
        let counters = Arc::<Counters>::default();
        let cache = config.cache.map(|policy| Arc::new(Cache::new(policy, Arc::clone(&counters))));
        let (listening, listens) = (config.for_listening(), config.listens);
        let pool = Arc::new(Pool::new(config, Arc::clone(&counters)));
        let feed = ChangeFeed::new(listening, listens, Arc::downgrade(&pool), cache.clone());
        if let Some(cache) = &cache {
            tokio::spawn(Cache::sweep(Arc::downgrade(cache)));
        }
        Self { inner: Arc::new(Inner { pool, cache, feed, counters, known_names: OnceCell::new() }) }
    }

    /// Reads one secret; `None` only where it is not set.
    pub async fn get(&self, business: Uuid, name: SecretName) -> Result<Option<SecretString>> {
        if let Some(value) = self.cached(business, name) {
            return Ok(value.as_deref().cloned());
        }
        let outcomes = self.read(business, name.into()).await?;
        outcomes.into_iter().next().map_or(Ok(None), |(_, value)| value)
    }

    /// Whether there is a cache.
    pub fn is_caching(&self) -> bool {
        self.inner.cache.is_some()
    }

    /// One secret, if the cache knows it; `get` asks it first, too. Waits for nothing and copies nothing.
    pub fn cached(&self, business: Uuid, name: SecretName) -> Option<Option<Arc<SecretString>>> {
        self.inner.cache.as_ref()?.get(business, name)
    }

    /// Reads several secrets of one business in one round trip and one snapshot.
    pub async fn get_many(&self, business: Uuid, names: NameSet) -> Result<Values> {
        if let Some(values) = self.inner.cache.as_ref().and_then(|cache| cache.get_many(business, &names)) {
            return Ok(values);
        }
        self.get_many_fresh(business, names).await
    }

    /// As `get_many`, past the cache.
    pub async fn get_many_fresh(&self, business: Uuid, names: NameSet) -> Result<Values> {
        if names.is_empty() {
            return Err(Error::InvalidArgument("names is empty: pass at least one name".into()));
        }
        let outcomes = self.read(business, names).await?;
        let undecryptable: Vec<SecretName> = outcomes
            .iter()
            .filter(|(_, value)| matches!(value, Err(Error::DecryptFailed { .. })))
            .map(|(name, _)| *name)
            .collect();
        if !undecryptable.is_empty() {
            return Err(Error::DecryptFailed { names: undecryptable });
        }
        outcomes.into_iter().map(|(name, value)| Ok((name, value?))).collect()
    }

    /// Reads the secrets of one turn of a JavaScript thread, past the cache; read i is slot i of the bulk.
    #[cfg_attr(not(feature = "node"), allow(dead_code, reason = "only the binding has turns"))]
    pub(crate) fn read_bulk(&self, token: u32, reads: Vec<(Uuid, SecretName)>, sink: Weak<dyn BulkSink>) {
        let (pool, reads) = (&self.inner.pool, Arc::<[_]>::from(reads));
        let finish = self.inner.cache.as_ref().map(|cache| finish_in(cache, Arc::clone(&reads)));
        let bulk = Bulk::new(token, reads.len(), pool.deadline(), finish, sink);
        pool.read_bulk(&bulk, &reads);
    }

    /// Writes one secret, or clears it with `None`. Returns its version.
    ///
    /// With `expected` the write is refused unless that is still the version; 0 stands for never set.
    pub async fn set(
        &self,
        business: Uuid,
        name: SecretName,
        value: Option<SecretString>,
        expected: Option<i64>,
    ) -> Result<i64> {
        let expected = expected.map(|version| (name, version)).into_iter().collect();
        let versions = self.set_many(business, vec![(name, value)], expected).await?;
        let version = versions.iter().find(|(written, _)| *written == name).map(|(_, version)| *version);
        version.ok_or_else(|| Error::UnknownOutcome {
            cause: format!("the database gives no version of {name}: is it of another version?"),
        })
    }

    /// Writes several secrets of one business, all or none. Returns their versions.
    pub async fn set_many(&self, business: Uuid, values: Values, expected: Versions) -> Result<Versions> {
        self.write(business, values, expected, None).await
    }

    /// As `set_many`. `options` is JSON, as the database function takes it: expiry, rotation and purging of each name.
    pub async fn write(
        &self,
        business: Uuid,
        values: Values,
        expected: Versions,
        options: Option<String>,
    ) -> Result<Versions> {
        if values.is_empty() {
            return Err(Error::InvalidArgument("values is empty: pass at least one name and value".into()));
        }
        let names: NameSet = values.iter().map(|(name, _)| *name).collect();
        if names.len() != values.len() {
            return Err(Error::InvalidArgument("values names a secret twice".into()));
        }
        if let Some((name, _)) = expected.iter().find(|(name, _)| !names.contains(*name)) {
            return Err(Error::InvalidArgument(format!(
                "expectedVersions names {name}, which is not written: write it too, or leave its version out"
            )));
        }
        let values: Values =
            values.into_iter().map(|(name, value)| Ok((name, normalised(value)?))).collect::<Result<_>>()?;
        self.change(business, names, Write { business, values, expected, options }).await
    }

    /// Clears one secret. Returns its version.
    pub async fn delete(&self, business: Uuid, name: SecretName, expected: Option<i64>) -> Result<i64> {
        self.set(business, name, None, expected).await
    }

    /// Puts back the value before the current one. Returns the new version.
    pub async fn undo(&self, business: Uuid, name: SecretName, expected: Option<i64>) -> Result<i64> {
        self.change(business, name.into(), Undo { business, name, expected }).await
    }

    /// Runs a statement that changes those secrets. Until it is done nothing of them is cached.
    async fn change<S: store::Statement>(
        &self,
        business: Uuid,
        names: NameSet,
        statement: S,
    ) -> Result<S::Answer> {
        let guard = self.inner.cache.as_ref().map(|cache| cache.begin_write(business, names));
        let outcome = self.inner.pool.run(statement).await;
        // Before the caller learns of the outcome: what the caller asks for next is read anew.
        drop(guard);
        outcome.inspect_err(|error| self.revoke(business, &NameSet::default(), error))
    }

    /// Lists what may be shown of every secret, in the order of the catalogue. Never a value.
    pub async fn list(&self, business: Uuid) -> Result<Vec<Listed>> {
        let outcome = self.inner.pool.run(List(business)).await;
        outcome.inspect_err(|error| self.revoke(business, &NameSet::default(), error))
    }

    /// Asks for the right to be the only one that renews a secret, for that long.
    pub async fn lease(&self, business: Uuid, name: SecretName, ttl: Duration) -> Result<Lease> {
        self.inner.pool.run(TakeLease { business, name, ttl }).await
    }

    /// Gives a lease back. Says whether it was still held.
    pub async fn release(&self, business: Uuid, name: SecretName, token: Uuid) -> Result<bool> {
        self.inner.pool.run(Release { business, name, token }).await
    }

    /// Records what came of trying a secret at its provider. False where the version has changed since.
    pub async fn check(
        &self,
        business: Uuid,
        name: SecretName,
        version: i64,
        result: String,
    ) -> Result<bool> {
        self.inner.pool.run(Check { business, name, version, result }).await
    }

    /// The secrets that expire or are to be rotated within that time.
    pub async fn due(&self, within: Duration) -> Result<Vec<Due>> {
        self.inner.pool.run(DueWithin(within)).await
    }

    /// The names that the database knows, in the order of the catalogue.
    pub async fn names(&self) -> Result<Vec<String>> {
        self.inner.pool.run(KnownNames).await
    }

    /// The name that a person wrote. Where the database knows no such secret, the error says which may have been meant.
    pub async fn secret_name(&self, text: &str) -> Result<SecretName> {
        let known = self.inner.known_names.get_or_try_init(|| self.names()).await?;
        if known.iter().any(|name| name == text) {
            return Ok(text.parse()?);
        }
        Err(Error::UnknownSecret { hint: near_misses(text, known) })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        self.inner.pool.run(Ping).await
    }

    /// Receives the changes that match, whoever makes them. Nothing arrives where LISTEN cannot work: see
    /// [`Client::stats`].
    pub fn watch(&self, filter: Filter) -> Result<Watcher> {
        self.inner.feed.watch(filter)
    }

    /// What the client has done so far. Cheap enough to poll.
    pub fn stats(&self) -> Stats {
        let Inner { pool, cache, feed, counters, .. } = &*self.inner;
        Stats {
            hits: counters.hits.get(),
            negative_hits: counters.negative_hits.get(),
            misses: counters.misses.get(),
            entries: cache.as_ref().map_or(0, |cache| cache.len() as u64),
            stale_served: counters.stale_served.get(),
            evictions: counters.evictions.get(),
            invalidations: counters.invalidations.get(),
            coalesced: counters.coalesced.get(),
            batches: counters.batches.get(),
            elements: counters.elements.get(),
            pool: pool.stats(),
            listener: feed.stats(),
        }
    }

    /// Wipes the cache, lets what is under way end, and closes the connections. Watchers end, and later calls fail
    /// with [`Error::Closed`].
    pub async fn close(&self) {
        if let Some(cache) = &self.inner.cache {
            cache.close();
        }
        self.inner.feed.close().await;
        self.inner.pool.close().await;
    }

    /// Reads from the database; each secret fails by itself.
    async fn read(&self, business: Uuid, names: NameSet) -> Result<ReadOutcomes> {
        let Inner { pool, cache, .. } = &*self.inner;
        let guard = cache.as_ref().map(|cache| cache.begin_read(business, names.len()));
        let readings: Readings = match pool.read(business, names.clone()).await {
            Ok(readings) => readings,
            Err(error) => {
                self.revoke(business, &names, &error);
                return self.read_stale(business, &names, error);
            }
        };
        if let Some(guard) = guard {
            guard.store(&readings);
        }
        Ok(readings.into_iter().map(|(name, reading)| (name, reading.map(|reading| reading.value))).collect())
    }

    /// An expired value is better than none while the database is out of reach. A revoked one is not.
    fn read_stale(&self, business: Uuid, names: &NameSet, error: Error) -> Result<ReadOutcomes> {
        let cache = self.inner.cache.as_ref().filter(|_| error.is_transient());
        let Some(stale) = cache.and_then(|cache| cache.stale(business, names)) else { return Err(error) };
        tracing::warn!(%business, secrets = stale.len(), %error, "serving stale secrets");
        Ok(stale.into_iter().map(|(name, value)| (name, Ok(value))).collect())
    }

    fn revoke(&self, business: Uuid, names: &NameSet, error: &Error) {
        if let Some(cache) = &self.inner.cache {
            revoke(cache, business, names, error);
        }
    }
}

/// What each secret is, or why it alone could not be read.
type ReadOutcomes = Vec<(SecretName, Result<Option<SecretString>>)>;

/// Drops from the cache what the database would not give any more. `names` are those that were asked for.
fn revoke(cache: &Cache, business: Uuid, names: &NameSet, error: &Error) {
    match error {
        Error::PermissionDenied { .. } if store::is_of_scope(error) => cache.forget(business, names),
        Error::PermissionDenied { .. } | Error::NotMigrated { .. } => cache.clear(),
        Error::BusinessNotFound { .. } => cache.forget_business(business),
        Error::UnknownSecret { .. } => cache.forget(business, names),
        Error::DecryptFailed { names } => cache.forget(business, &names.iter().copied().collect()),
        _ => {}
    }
}

/// What happens in the cache when an answer of a bulk arrives: it is stored, or what it revokes is dropped, or a stale
/// value takes its place.
fn finish_in(cache: &Arc<Cache>, reads: Arc<[(Uuid, SecretName)]>) -> Finish {
    let guards: Vec<Option<ReadGuard>> =
        reads.iter().map(|(business, _)| Some(cache.begin_read(*business, 1))).collect();
    // std Mutex: never held across an await.
    let (cache, guards) = (Arc::clone(cache), Mutex::new(guards));
    Box::new(move |slot, outcome| {
        let Some(&(business, name)) = reads.get(slot as usize) else { return outcome };
        let guard = guards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(slot as usize)
            .and_then(Option::take);
        match outcome {
            Ok(reading) => {
                let [(_, reading)] = {
                    let readings = [(name, Ok(reading))];
                    if let Some(guard) = guard {
                        guard.store(&readings);
                    }
                    readings
                };
                reading
            }
            Err(error) => {
                let names = NameSet::from(name);
                revoke(&cache, business, &names, &error);
                let stale = error.is_transient().then(|| cache.stale(business, &names)).flatten();
                let Some((_, value)) = stale.and_then(|stale| stale.into_iter().next()) else {
                    return Err(error);
                };
                tracing::warn!(%business, %error, "serving a stale secret");
                Ok(Reading { value, version: 0 })
            }
        }
    })
}

fn normalised(value: Option<SecretString>) -> Result<Option<SecretString>> {
    value.map_or(Ok(None), |value| value::normalise(value.expose_secret()))
}
