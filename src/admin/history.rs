//! Reads the audit.

use uuid::Uuid;

use super::Admin;
use crate::error::{Error, Result};
use crate::name::SecretName;
use crate::queries::history::{self, Change};
use crate::queries::ledger;

impl Admin {
    /// The latest changes, newest first: of all businesses or of one, of all secrets or of one.
    pub async fn history(
        &self,
        business: Option<Uuid>,
        name: Option<SecretName>,
        limit: u32,
    ) -> Result<Vec<Change>> {
        let mut connection = self.look().await?;
        if ledger::applied(&mut connection).await?.is_empty() {
            return Err(Error::NotMigrated { found: "nothing is applied".into() });
        }
        let name = name.map(SecretName::as_str);
        Ok(history::changes(&mut connection, business, name, i64::from(limit)).await?)
    }
}
