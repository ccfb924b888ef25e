//! Who read what.

use uuid::Uuid;

use super::Admin;
use super::names::{require_applied, require_known};
use crate::error::{Error, Result};
use crate::queries::marks::{self, Access, Unusual};
use crate::queries::names;
use crate::timestamp::Timestamp;

impl Admin {
    /// Who read the secrets of a business, by login, name and day, the latest first. What a cache served is no read.
    pub async fn access(
        &self,
        business: Uuid,
        name: Option<&str>,
        since: Option<Timestamp>,
    ) -> Result<Vec<Access>> {
        let mut connection = self.look().await?;
        require_applied(&mut connection, 4).await?;
        if let Some(name) = name {
            // Those out of use, too: they were read once.
            let entries = names::entries(&mut connection).await?;
            let known: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
            require_known(&known, [name])?;
        }
        let found = marks::of_business(&mut connection, business, name, since).await?;
        if found.is_empty() && !marks::business_exists(&mut connection, business).await? {
            return Err(Error::BusinessNotFound { business });
        }
        Ok(found)
    }

    /// Logins that read more than ten times as much today as on the median of their days of the last 30.
    pub async fn unusual_access(&self) -> Result<Vec<Unusual>> {
        let mut connection = self.look().await?;
        require_applied(&mut connection, 4).await?;
        Ok(marks::unusual(&mut connection).await?)
    }
}
