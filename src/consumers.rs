//! What each consumer asks for, by the names that it uses. Every one is a single round trip.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::name::{NameSet, SecretName};
use crate::client::{Client, Values};
use crate::error::{Error, Result};
use crate::store::{Listed, Versions};
use crate::timestamp::Timestamp;

/// A provider of language models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Google.
    Gemini,
    /// xAI.
    Grok,
    /// Anthropic.
    Claude,
}

impl Provider {
    pub(crate) const fn secret(self) -> SecretName {
        match self {
            Self::Gemini => SecretName::GeminiApiKey,
            Self::Grok => SecretName::GrokApiKey,
            Self::Claude => SecretName::ClaudeApiKey,
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "gemini" => Ok(Self::Gemini),
            "grok" => Ok(Self::Grok),
            "claude" => Ok(Self::Claude),
            _ => Err(Error::InvalidArgument("provider must be 'gemini', 'grok' or 'claude'".into())),
        }
    }
}

/// The keys that adService asks for.
#[derive(Debug, Clone)]
pub struct BusinessApiKeys {
    /// Of Google Gemini.
    pub gemini: Option<SecretString>,
    /// Of xAI Grok.
    pub grok: Option<SecretString>,
}

/// Kling's two keys, of which neither works alone.
#[derive(Debug, Clone)]
pub struct KlingCredentials {
    /// Names the account.
    pub access_key: SecretString,
    /// Signs its requests.
    pub secret_key: SecretString,
}

/// What google-auth keeps of a grant.
#[derive(Debug, Clone)]
pub struct GoogleTokens {
    /// For requests, until it expires.
    pub access_token: Option<SecretString>,
    /// For the next access token.
    pub refresh_token: Option<SecretString>,
    /// When the access token expires.
    pub expires_at: Option<Timestamp>,
    /// Where files go.
    pub drive_folder_id: Option<String>,
}

/// What to change of [`GoogleTokens`]: `None` leaves as it is, `Some(None)` clears.
#[derive(Debug, Clone, Default)]
pub struct GoogleTokensUpdate {
    /// For requests, until it expires.
    pub access_token: Option<Option<SecretString>>,
    /// For the next access token.
    pub refresh_token: Option<Option<SecretString>>,
    /// When the access token expires.
    pub expires_at: Option<Option<Timestamp>>,
    /// Where files go.
    pub drive_folder_id: Option<Option<SecretString>>,
}

/// What a settings page may show of one integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Whether everything that it needs is set.
    pub configured: bool,
    /// The last four characters of its key, where that is long enough to show them.
    pub last4: Option<String>,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
}

/// What a settings page may show of every integration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the integration of its name")]
pub struct IntegrationStatus {
    pub gemini: Integration,
    pub grok: Integration,
    pub claude: Integration,
    pub youtube: Integration,
    pub kling: Integration,
    pub sms: Integration,
    pub whatsapp: Integration,
    pub google: Integration,
}

impl Client {
    /// mayaService: one provider's key.
    pub async fn provider_key(&self, business: Uuid, provider: Provider) -> Result<Option<SecretString>> {
        self.get(business, provider.secret()).await
    }

    /// Sets or clears one provider's key. Returns its version.
    pub async fn set_provider_key(
        &self,
        business: Uuid,
        of: Provider,
        key: Option<SecretString>,
    ) -> Result<i64> {
        self.set(business, of.secret(), key, None).await
    }

    /// adService: the keys of its two providers.
    pub async fn business_api_keys(&self, business: Uuid) -> Result<BusinessApiKeys> {
        let mut values = self.take(business, [SecretName::GeminiApiKey, SecretName::GrokApiKey]).await?;
        Ok(BusinessApiKeys {
            gemini: values.take(SecretName::GeminiApiKey),
            grok: values.take(SecretName::GrokApiKey),
        })
    }

    /// klingRoutes: both keys or nothing, from one snapshot.
    pub async fn kling_credentials(&self, business: Uuid) -> Result<Option<KlingCredentials>> {
        let mut values =
            self.take(business, [SecretName::KlingAccessKey, SecretName::KlingSecretKey]).await?;
        let keys = (values.take(SecretName::KlingAccessKey), values.take(SecretName::KlingSecretKey));
        Ok(match keys {
            (Some(access_key), Some(secret_key)) => Some(KlingCredentials { access_key, secret_key }),
            _ => None,
        })
    }

    /// Sets both keys, or clears both. Returns their versions.
    pub async fn set_kling_credentials(
        &self,
        business: Uuid,
        keys: Option<KlingCredentials>,
    ) -> Result<Versions> {
        let (access_key, secret_key) = keys.map(|keys| (keys.access_key, keys.secret_key)).unzip();
        let is_blank = |key: &SecretString| key.expose_secret().trim().is_empty();
        if access_key.iter().chain(&secret_key).any(is_blank) {
            return Err(Error::InvalidValue {
                why: "Kling's keys work only together: pass both, or null to clear both".into(),
            });
        }
        let values = vec![(SecretName::KlingAccessKey, access_key), (SecretName::KlingSecretKey, secret_key)];
        self.set_many(business, values, Vec::new()).await
    }

    /// google-auth: `None` where neither token is set.
    pub async fn google_tokens(&self, business: Uuid) -> Result<Option<GoogleTokens>> {
        let mut values = self
            .take(
                business,
                [
                    SecretName::GoogleAccessToken,
                    SecretName::GoogleRefreshToken,
                    SecretName::GoogleTokenExpiry,
                    SecretName::GoogleDriveFolderId,
                ],
            )
            .await?;
        let access_token = values.take(SecretName::GoogleAccessToken);
        let refresh_token = values.take(SecretName::GoogleRefreshToken);
        if access_token.is_none() && refresh_token.is_none() {
            return Ok(None);
        }
        let expires_at = values.take(SecretName::GoogleTokenExpiry).map(|text| text.expose_secret().parse());
        let expires_at = expires_at.transpose().map_err(|_| Error::NotMigrated {
            found: "google_token_expiry does not come as an ISO 8601 time".into(),
        })?;
        let drive_folder_id = values.take(SecretName::GoogleDriveFolderId);
        Ok(Some(GoogleTokens {
            access_token,
            refresh_token,
            expires_at,
            drive_folder_id: drive_folder_id.map(|id| id.expose_secret().to_owned()),
        }))
    }

    /// Changes what is given and leaves the rest. Returns the versions of what was given.
    pub async fn set_google_tokens(&self, business: Uuid, update: GoogleTokensUpdate) -> Result<Versions> {
        let expires_at = update.expires_at.map(|at| at.map(|at| SecretString::from(at.to_string())));
        let values = [
            (SecretName::GoogleAccessToken, update.access_token),
            (SecretName::GoogleRefreshToken, update.refresh_token),
            (SecretName::GoogleTokenExpiry, expires_at),
            (SecretName::GoogleDriveFolderId, update.drive_folder_id),
        ];
        let values =
            values.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
        self.set_many(business, values, Vec::new()).await
    }

    /// Settings pages and `/api/system/validate-integrations`: what is set, without any value.
    pub async fn integration_status(&self, business: Uuid) -> Result<IntegrationStatus> {
        Ok(IntegrationStatus::of(&self.list(business).await?))
    }

    async fn take<const N: usize>(&self, business: Uuid, names: [SecretName; N]) -> Result<Taken> {
        Ok(Taken(self.get_many(business, NameSet::from_iter(names)).await?))
    }
}

struct Taken(Values);

impl Taken {
    fn take(&mut self, name: SecretName) -> Option<SecretString> {
        self.0.iter_mut().find(|(read, _)| *read == name).and_then(|(_, value)| value.take())
    }
}

impl IntegrationStatus {
    fn of(listed: &[Listed]) -> Self {
        let all = |names: &[SecretName]| integration(listed, names, names.len());
        Self {
            gemini: all(&[SecretName::GeminiApiKey]),
            grok: all(&[SecretName::GrokApiKey]),
            claude: all(&[SecretName::ClaudeApiKey]),
            youtube: all(&[SecretName::YoutubeApiKey]),
            kling: all(&[SecretName::KlingAccessKey, SecretName::KlingSecretKey]),
            sms: all(&[SecretName::GlobalSmsApiKey]),
            whatsapp: all(&[SecretName::WhatsappApiKey]),
            // Either token is a grant: the one serves requests now, the other those to come.
            google: integration(listed, &[SecretName::GoogleRefreshToken, SecretName::GoogleAccessToken], 1),
        }
    }
}

fn integration(listed: &[Listed], names: &[SecretName], needed: usize) -> Integration {
    let of = |name: &SecretName| listed.iter().find(|entry| entry.name == *name);
    let entries: Vec<&Listed> = names.iter().filter_map(of).collect();
    let configured = entries.iter().filter(|entry| entry.is_set).count() >= needed;
    Integration {
        configured,
        last4: configured.then(|| entries.iter().find_map(|entry| entry.last4.clone())).flatten(),
        updated_at: entries.iter().filter_map(|entry| entry.updated_at).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: SecretName, last4: Option<&str>) -> Listed {
        let updated_at = Some(Timestamp(name as i64));
        Listed { name, is_set: last4.is_some(), last4: last4.map(str::to_owned), version: 1, updated_at }
    }

    #[test]
    fn kling_is_configured_only_with_both_keys() {
        let one =
            [listed(SecretName::KlingAccessKey, Some("aaaa")), listed(SecretName::KlingSecretKey, None)];
        let status = IntegrationStatus::of(&one);
        assert!(!status.kling.configured);
        assert_eq!(status.kling.last4, None);

        let both = [
            listed(SecretName::KlingAccessKey, Some("aaaa")),
            listed(SecretName::KlingSecretKey, Some("bbbb")),
        ];
        let status = IntegrationStatus::of(&both);
        assert!(status.kling.configured);
        assert_eq!(status.kling.last4.as_deref(), Some("aaaa"));
        assert_eq!(status.kling.updated_at, Some(Timestamp(SecretName::KlingSecretKey as i64)));
    }

    #[test]
    fn either_token_makes_google_configured() {
        let tokens = [
            listed(SecretName::GoogleAccessToken, None),
            listed(SecretName::GoogleRefreshToken, Some("ffff")),
        ];
        assert!(IntegrationStatus::of(&tokens).google.configured);
        assert!(!IntegrationStatus::of(&[]).google.configured);
    }

    #[test]
    fn a_provider_is_read_by_its_name_and_an_unknown_one_is_not_repeated() {
        assert_eq!("grok".parse::<Provider>().unwrap(), Provider::Grok);
        assert!(!"sk_live".parse::<Provider>().unwrap_err().to_string().contains("sk_live"));
    }
}
