//! The types that `index.d.ts` declares. What they say is documentation for people: arguments are checked in
//! `arguments`, and a test compares the unions with the core's lists.

use napi_derive::napi;

use super::results::{Date, Plain};
use crate::consumers;
use crate::store;

/// A secret that the database knows, by its column.
#[napi(string_enum)]
#[expect(missing_docs, reason = "each is the secret of its name")]
pub enum SecretName {
    #[napi(value = "gemini_api_key")]
    GeminiApiKey,
    #[napi(value = "grok_api_key")]
    GrokApiKey,
    #[napi(value = "claude_api_key")]
    ClaudeApiKey,
    #[napi(value = "youtube_api_key")]
    YoutubeApiKey,
    #[napi(value = "kling_access_key")]
    KlingAccessKey,
    #[napi(value = "kling_secret_key")]
    KlingSecretKey,
    #[napi(value = "global_sms_api_key")]
    GlobalSmsApiKey,
    #[napi(value = "whatsapp_api_key")]
    WhatsappApiKey,
    #[napi(value = "google_access_token")]
    GoogleAccessToken,
    #[napi(value = "google_refresh_token")]
    GoogleRefreshToken,
    #[napi(value = "google_token_expiry")]
    GoogleTokenExpiry,
    #[napi(value = "google_drive_folder_id")]
    GoogleDriveFolderId,
}

/// Why a call failed.
///
/// - `INVALID_ARGUMENT`: the call itself is wrong; nothing was sent.
/// - `UNKNOWN_SECRET`: no secret has that name; the message names those that may have been meant.
/// - `INVALID_VALUE`: not a string or null, longer than 65,536 bytes of UTF-8 once trimmed, with a NUL or half a surrogate pair.
/// - `BUSINESS_NOT_FOUND`: the business does not exist.
/// - `PERMISSION_DENIED`: the login is refused, or is no member of `app_secrets_service`.
/// - `VERSION_CONFLICT`: somebody else wrote in between; nothing was changed.
/// - `DECRYPT_FAILED`: the ciphertext cannot be opened; writing a new value heals it.
/// - `NOT_MIGRATED`: the database functions are missing or of another version: run `app-secrets migrate`.
/// - `UNSAFE_CONNECTION`: the server's identity cannot be verified, or clear text was asked for.
/// - `UNAVAILABLE`: the database cannot be reached right now: worth a retry.
/// - `TIMEOUT`: no answer by the deadline. A write was not carried out.
/// - `UNKNOWN_OUTCOME`: a write was sent, and whether it was carried out is not known: read the version.
/// - `LOCK_TIMEOUT`: a migration could not get its locks; its message names who holds them. Run it again.
/// - `VERIFICATION_FAILED`: plaintext and sealed values differ; nothing was dropped.
/// - `REFUSED`: not done in this state, not without a confirmation, or not by a rule of the app's own in the database.
/// - `CLOSED`: the client was closed.
/// - `CONFIG`: the configuration is incomplete or contradicts itself.
#[napi(string_enum = "UPPER_SNAKE")]
#[expect(missing_docs, reason = "listed above")]
pub enum ErrorCode {
    InvalidArgument,
    UnknownSecret,
    InvalidValue,
    BusinessNotFound,
    PermissionDenied,
    VersionConflict,
    DecryptFailed,
    NotMigrated,
    UnsafeConnection,
    Unavailable,
    Timeout,
    UnknownOutcome,
    LockTimeout,
    VerificationFailed,
    Refused,
    Closed,
    Config,
}

/// A provider of language models.
#[napi(string_enum = "lowercase")]
#[expect(missing_docs, reason = "each is the provider of its name")]
pub enum Provider {
    Gemini,
    Grok,
    Claude,
}

/// What every promise of this package rejects with: an `Error` with a stable `code`, and a message that says what to
/// do. Neither it nor its stack ever holds a secret, a password or a connection string.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SecretsError {
    /// Always `Error`.
    pub name: String,
    /// What went wrong and what to do about it.
    pub message: String,
    /// Where, as of any `Error`.
    pub stack: Option<String>,
    /// Which kind of failure it is: stable, to be compared with.
    #[napi(ts_type = "ErrorCode")]
    pub code: String,
}

/// Where and how to connect. Whatever is left out has a default.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct ConnectOptions {
    /// `postgres://user:password@host:port/database`. Default: `APP_SECRETS_URL`, else `DATABASE_URL` of the environment.
    pub url: Option<String>,
    /// A certificate authority to trust besides the public ones: PEM text, or the path of a PEM file.
    pub ca: Option<String>,
    /// Allows a connection to a remote host that is not encrypted and verified. Default: false.
    pub allow_insecure: Option<bool>,
    /// The most connections to open, 1 to 1000. They are opened as load demands. Default: 8.
    pub max_connections: Option<u32>,
    /// How long a call may take, in milliseconds, 1 to 3,600,000. Default: 5000.
    pub timeout_ms: Option<u32>,
    /// Whether a transaction pooler (`PgBouncer`, Supavisor) stands in between. Default: `auto`, which finds out.
    #[napi(ts_type = "'auto' | 'transaction' | 'none'")]
    pub pooler: Option<String>,
    /// A direct connection, of the same login and database, to hear of changes through where `url` leads through a
    /// transaction pooler. Default: `url`, unless that is the case.
    pub listen_url: Option<String>,
    /// Keeps what was read in memory, and hears of changes to drop it. True stands for all defaults. Default: false.
    #[napi(ts_type = "boolean | CacheOptions")]
    pub cache: Option<bool>,
    /// The name that the server's views and logs show, at most 63 bytes. Default: `app-secrets`. That of the
    /// connection that hears of changes ends in ` listener`.
    pub application_name: Option<String>,
    /// Whom the audit names besides the login, at most 128 bytes.
    pub actor: Option<String>,
}

/// How much is cached, and for how long.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct CacheOptions {
    /// How long a value counts as fresh, in milliseconds, 1 to 86,400,000, give or take a tenth. While the listener is up
    /// a change is seen sooner: within milliseconds. Default: 60,000.
    pub ttl_ms: Option<u32>,
    /// The same for a secret that is not set, at most `ttlMs`; 0 caches none. Default: 5000.
    pub negative_ttl_ms: Option<u32>,
    /// The most secrets to keep, 1 to 1,000,000. Default: 10,000.
    pub max_entries: Option<u32>,
    /// How much longer what was read may be served while the database is out of reach, in milliseconds, at most
    /// 86,400,000. Never after a denied permission, a change or a deletion that was heard of. Default: 0, never.
    pub max_stale_ms: Option<u32>,
}

/// How to set one secret.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SetOptions {
    /// Refuses the write with `VERSION_CONFLICT` unless this is still the version; 0 stands for never set.
    pub expected_version: Option<i64>,
}

/// How to set several secrets.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct SetManyOptions {
    /// Refuses the write with `VERSION_CONFLICT` unless these are still the versions; 0 stands for never set.
    #[napi(ts_type = "{ [name in SecretName]?: number }")]
    pub expected_versions: Option<String>,
}

/// What may be shown of one secret.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct ListedSecret {
    /// Which one.
    #[napi(ts_type = "SecretName")]
    pub name: &'static str,
    /// Whether it has a value.
    pub is_set: bool,
    /// The last four characters, of sealed values of 12 characters or more.
    pub last4: Option<String>,
    /// Counts the changes; 0 where it was never set.
    pub version: i64,
    /// When it changed last.
    #[napi(ts_type = "Date")]
    pub updated_at: Option<Date>,
}

/// The keys that adService asks for.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct BusinessApiKeys {
    /// Of Google Gemini.
    #[napi(ts_type = "string")]
    pub gemini: Option<Plain>,
    /// Of xAI Grok.
    #[napi(ts_type = "string")]
    pub grok: Option<Plain>,
}

/// Kling's two keys, of which neither works alone.
#[napi(object, object_from_js = false)]
pub struct KlingCredentials {
    /// Names the account.
    #[napi(ts_type = "string")]
    pub access_key: Plain,
    /// Signs its requests.
    #[napi(ts_type = "string")]
    pub secret_key: Plain,
}

/// What google-auth keeps of a grant.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct GoogleTokens {
    /// For requests, until it expires.
    #[napi(ts_type = "string")]
    pub access_token: Option<Plain>,
    /// For the next access token.
    #[napi(ts_type = "string")]
    pub refresh_token: Option<Plain>,
    /// When the access token expires.
    #[napi(ts_type = "Date")]
    pub expires_at: Option<Date>,
    /// Where files go.
    pub drive_folder_id: Option<String>,
}

/// What to change of the tokens: what is left out stays as it is, null clears.
#[napi(object, object_from_js = false, object_to_js = false)]
pub struct GoogleTokensUpdate {
    /// For requests, until it expires.
    #[napi(ts_type = "string | null")]
    pub access_token: Option<String>,
    /// For the next access token.
    #[napi(ts_type = "string | null")]
    pub refresh_token: Option<String>,
    /// When the access token expires.
    #[napi(ts_type = "Date | null")]
    pub expires_at: Option<String>,
    /// Where files go.
    #[napi(ts_type = "string | null")]
    pub drive_folder_id: Option<String>,
}

/// What a settings page may show of one integration.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Integration {
    /// Whether everything that it needs is set. Google needs one of its two tokens, Kling both of its keys.
    pub configured: bool,
    /// The last four characters of its key, where that has 12 characters or more.
    pub last4: Option<String>,
    /// When it changed last.
    #[napi(ts_type = "Date")]
    pub updated_at: Option<Date>,
}

/// What a settings page may show of every integration: never a value.
#[napi(object, object_from_js = false)]
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

impl From<store::Listed> for ListedSecret {
    fn from(listed: store::Listed) -> Self {
        Self {
            name: listed.name.as_str(),
            is_set: listed.is_set,
            last4: listed.last4,
            version: listed.version,
            updated_at: listed.updated_at.map(Date),
        }
    }
}

impl From<consumers::BusinessApiKeys> for BusinessApiKeys {
    fn from(keys: consumers::BusinessApiKeys) -> Self {
        Self { gemini: keys.gemini.map(Plain), grok: keys.grok.map(Plain) }
    }
}

impl From<consumers::KlingCredentials> for KlingCredentials {
    fn from(keys: consumers::KlingCredentials) -> Self {
        Self { access_key: Plain(keys.access_key), secret_key: Plain(keys.secret_key) }
    }
}

impl From<consumers::GoogleTokens> for GoogleTokens {
    fn from(tokens: consumers::GoogleTokens) -> Self {
        Self {
            access_token: tokens.access_token.map(Plain),
            refresh_token: tokens.refresh_token.map(Plain),
            expires_at: tokens.expires_at.map(Date),
            drive_folder_id: tokens.drive_folder_id,
        }
    }
}

impl From<consumers::Integration> for Integration {
    fn from(integration: consumers::Integration) -> Self {
        Self {
            configured: integration.configured,
            last4: integration.last4,
            updated_at: integration.updated_at.map(Date),
        }
    }
}

impl From<consumers::IntegrationStatus> for IntegrationStatus {
    fn from(status: consumers::IntegrationStatus) -> Self {
        Self {
            gemini: status.gemini.into(),
            grok: status.grok.into(),
            claude: status.claude.into(),
            youtube: status.youtube.into(),
            kling: status.kling.into(),
            sms: status.sms.into(),
            whatsapp: status.whatsapp.into(),
            google: status.google.into(),
        }
    }
}
