//! The client: checks what it is given, asks the database, and says what came back.

use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;

use crate::catalogue::{NameSet, SecretName};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pool::{Pool, Readings};
use crate::store::{Listed, Versions, WriteRequest};
use crate::value;

/// Reads and writes secrets. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

/// A value for each name; `None` clears.
pub type Values = Vec<(SecretName, Option<SecretString>)>;

impl Client {
    /// Opens nothing yet: the database may still be away. Connections are opened as work demands.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, which the connections belong to.
    pub fn new(config: Config) -> Self {
        Self { pool: Arc::new(Pool::new(config)) }
    }

    /// Reads one secret; `None` only where it is not set.
    pub async fn get(&self, business: Uuid, name: SecretName) -> Result<Option<SecretString>> {
        let values = self.read(business, name.into()).await?;
        values.into_iter().next().map_or(Ok(None), |(_, value)| value)
    }

    /// Reads several secrets of one business in one round trip and one snapshot.
    pub async fn get_many(&self, business: Uuid, names: NameSet) -> Result<Values> {
        if names.is_empty() {
            return Err(Error::InvalidArgument("names is empty: pass at least one name".into()));
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
        version.ok_or_else(|| Error::NotMigrated {
            found: format!("set_business_secrets gives no version of {name}"),
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
        let values =
            values.into_iter().map(|(name, value)| Ok((name, normalised(value)?))).collect::<Result<_>>()?;
        self.pool.write(WriteRequest { business, values, expected }).await
    }

    /// Clears one secret. Returns its version.
    pub async fn delete(&self, business: Uuid, name: SecretName, expected: Option<i64>) -> Result<i64> {
        self.set(business, name, None, expected).await
    }

    /// Lists what may be shown of every secret, in the order of the catalogue. Never a value.
    pub async fn list(&self, business: Uuid) -> Result<Vec<Listed>> {
        self.pool.list(business).await
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        self.pool.ping().await
    }

    /// Lets what is under way end, and closes the connections. Later calls fail with [`Error::Closed`].
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Reads; each secret fails by itself.
    async fn read(
        &self,
        business: Uuid,
        names: NameSet,
    ) -> Result<Vec<(SecretName, Result<Option<SecretString>>)>> {
        let readings: Readings = self.pool.read(business, names).await?;
        Ok(readings.into_iter().map(|(name, reading)| (name, reading.map(|reading| reading.value))).collect())
    }
}

fn normalised(value: Option<SecretString>) -> Result<Option<SecretString>> {
    use secrecy::ExposeSecret;
    value.map_or(Ok(None), |value| value::normalise(value.expose_secret()))
}
