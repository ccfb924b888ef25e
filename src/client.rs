//! The client: checks what it is given, asks the database, and says what came back.

use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;

use crate::cache::Cache;
use crate::catalogue::{NameSet, SecretName};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pool::{Pool, Readings};
use crate::stats::{Counters, Stats};
use crate::store::{Listed, Versions, WriteRequest};
use crate::value;
use crate::watch::{Filter, Live, Watcher};

/// Reads and writes secrets. Clones share the connections and the cache.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    cache: Option<Arc<Cache>>,
    live: Arc<Live>,
    counters: Arc<Counters>,
}

/// A value for each name; `None` clears.
pub type Values = Vec<(SecretName, Option<SecretString>)>;

impl Client {
    /// Waits for nothing: the database may still be away. Connections are opened as work demands; with a cache, one
    /// to hear of changes is opened at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, which the connections belong to.
    pub fn new(config: Config) -> Self {
        let counters = Arc::<Counters>::default();
        let cache = config.cache.map(|policy| Arc::new(Cache::new(policy, Arc::clone(&counters))));
        let listening = config.for_listening();
        let pool = Arc::new(Pool::new(config, Arc::clone(&counters)));
        let live = Live::new(listening, Arc::downgrade(&pool), cache.clone());
        if let Some(cache) = &cache {
            tokio::spawn(Cache::sweep(Arc::downgrade(cache)));
        }
        Self { inner: Arc::new(Inner { pool, cache, live, counters }) }
    }

    /// Reads one secret; `None` only where it is not set.
    pub async fn get(&self, business: Uuid, name: SecretName) -> Result<Option<SecretString>> {
        if let Some(value) = self.cached(business, name) {
            return Ok(value.as_deref().cloned());
        }
        let values = self.read(business, name.into()).await?;
        values.into_iter().next().map_or(Ok(None), |(_, value)| value)
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
        if names.is_empty() {
            return Err(Error::InvalidArgument("names is empty: pass at least one name".into()));
        }
        if let Some(values) = self.inner.cache.as_ref().and_then(|cache| cache.get_many(business, names)) {
            return Ok(values);
        }
        let values = self.read(business, names).await?;
        let undecryptable: Vec<SecretName> =
            values.iter().filter(|(_, value)| value.is_err()).map(|(name, _)| *name).collect();
        if !undecryptable.is_empty() {
            return Err(Error::DecryptFailed { names: undecryptable });
        }
        Ok(values.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
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
    pub async fn set_many(
        &self,
        business: Uuid,
        values: Values,
        expected: Vec<(SecretName, i64)>,
    ) -> Result<Versions> {
        if values.is_empty() {
            return Err(Error::InvalidArgument("values is empty: pass at least one name and value".into()));
        }
        if values.iter().map(|(name, _)| *name).collect::<NameSet>().len() != values.len() {
            return Err(Error::InvalidArgument("values names a secret twice".into()));
        }
        if let Some((name, _)) =
            expected.iter().find(|(name, _)| !values.iter().any(|(written, _)| written == name))
        {
            return Err(Error::InvalidArgument(format!(
                "expectedVersions names {name}, which is not written: write it too, or leave its version out"
            )));
        }
        let values: Values =
            values.into_iter().map(|(name, value)| Ok((name, normalised(value)?))).collect::<Result<_>>()?;
        let names = values.iter().map(|(name, _)| *name).collect();
        let writing = self.inner.cache.as_ref().map(|cache| cache.writing(business, names));
        let outcome = self.inner.pool.write(WriteRequest { business, values, expected }).await;
        // Before the caller hears of it: what he asks for next is read anew.
        drop(writing);
        outcome.inspect_err(|error| self.revoke(business, error))
    }

    /// Clears one secret. Returns its version.
    pub async fn delete(&self, business: Uuid, name: SecretName, expected: Option<i64>) -> Result<i64> {
        self.set(business, name, None, expected).await
    }

    /// Lists what may be shown of every secret, in the order of the catalogue. Never a value.
    pub async fn list(&self, business: Uuid) -> Result<Vec<Listed>> {
        self.inner.pool.list(business).await.inspect_err(|error| self.revoke(business, error))
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        self.inner.pool.ping().await
    }

    /// Hears of changes that match, whoever makes them. Nothing is heard where LISTEN cannot work: see
    /// [`Client::stats`].
    pub fn watch(&self, filter: Filter) -> Result<Watcher> {
        self.inner.live.watch(filter)
    }

    /// What the client has done so far. Cheap enough to poll.
    pub fn stats(&self) -> Stats {
        let Inner { pool, cache, live, counters } = &*self.inner;
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
            listener: live.stats(),
        }
    }

    /// Wipes the cache, lets what is under way end, and closes the connections. Watchers end, and later calls fail
    /// with [`Error::Closed`].
    pub async fn close(&self) {
        if let Some(cache) = &self.inner.cache {
            cache.close();
        }
        self.inner.live.close().await;
        self.inner.pool.close().await;
    }

    /// Reads from the database; each secret fails by itself.
    async fn read(&self, business: Uuid, names: NameSet) -> Result<Answers> {
        let Inner { pool, cache, .. } = &*self.inner;
        let reading = cache.as_ref().map(|cache| cache.reading(business, names));
        let readings: Readings = match pool.read(business, names).await {
            Ok(readings) => readings,
            Err(error) => {
                self.revoke(business, &error);
                return self.stand_in(business, names, error);
            }
        };
        if let Some(reading) = reading {
            reading.store(&readings);
        }
        Ok(readings.into_iter().map(|(name, reading)| (name, reading.map(|reading| reading.value))).collect())
    }

    /// A value that has only grown old is better than none. One that was taken away is not.
    fn stand_in(&self, business: Uuid, names: NameSet, error: Error) -> Result<Answers> {
        let cache = self.inner.cache.as_ref().filter(|_| error.is_transient());
        let Some(stale) = cache.and_then(|cache| cache.stale(business, names)) else { return Err(error) };
        tracing::warn!(%business, secrets = stale.len(), %error, "serving stale secrets");
        Ok(stale.into_iter().map(|(name, value)| (name, Ok(value))).collect())
    }

    /// Drops what the database would not give any more.
    fn revoke(&self, business: Uuid, error: &Error) {
        let Some(cache) = &self.inner.cache else { return };
        match error {
            Error::PermissionDenied { .. } | Error::NotMigrated { .. } => cache.clear(),
            Error::BusinessNotFound { .. } => cache.forget(business, SecretName::ALL.into_iter().collect()),
            Error::DecryptFailed { names } => cache.forget(business, names.iter().copied().collect()),
            _ => {}
        }
    }
}

/// What each secret is, or why it alone could not be read.
type Answers = Vec<(SecretName, Result<Option<SecretString>>)>;

fn normalised(value: Option<SecretString>) -> Result<Option<SecretString>> {
    use secrecy::ExposeSecret;
    value.map_or(Ok(None), |value| value::normalise(value.expose_secret()))
}
