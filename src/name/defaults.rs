//! The default catalogue, for the parts that still ask for it by name. What exists, the database says.

use super::SecretName;

/// What the default catalogue says of one secret.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The column in the database and the name in JavaScript.
    pub name: &'static str,
    /// Encrypted by Vault. What is not sealed is metadata.
    pub sealed: bool,
    /// Stood in plaintext in `businesses` before the migration.
    pub legacy: bool,
    /// Whose key it is, for people.
    pub label: &'static str,
}

macro_rules! catalogue {
    ($($variant:ident = $number:literal, $name:literal, $label:literal, sealed: $sealed:literal, legacy: $legacy:literal;)*) => {
        /// The names that are interned from the beginning, in the order of their numbers.
        pub(super) const SEED: [&str; [$($name),*].len()] = [$($name),*];

        #[allow(non_upper_case_globals, reason = "they read like the variants of an enum")]
        impl SecretName {
            $(#[doc = concat!("`", $name, "`: ", $label, ".")] pub const $variant: Self = Self($number);)*

            /// Every secret of the default catalogue, in its order.
            pub const ALL: [Self; SEED.len()] = [$(Self::$variant),*];
        }

        const ENTRIES: [Entry; SEED.len()] =
            [$(Entry { name: $name, sealed: $sealed, legacy: $legacy, label: $label }),*];
    };
}

catalogue! {
    GeminiApiKey = 0, "gemini_api_key", "Google Gemini", sealed: true, legacy: true;
    GrokApiKey = 1, "grok_api_key", "xAI Grok", sealed: true, legacy: true;
    ClaudeApiKey = 2, "claude_api_key", "Anthropic Claude", sealed: true, legacy: true;
    YoutubeApiKey = 3, "youtube_api_key", "YouTube Data API", sealed: true, legacy: true;
    KlingAccessKey = 4, "kling_access_key", "Kling", sealed: true, legacy: true;
    KlingSecretKey = 5, "kling_secret_key", "Kling", sealed: true, legacy: true;
    GlobalSmsApiKey = 6, "global_sms_api_key", "Global SMS", sealed: true, legacy: true;
    WhatsappApiKey = 7, "whatsapp_api_key", "WhatsApp", sealed: true, legacy: true;
    GoogleAccessToken = 8, "google_access_token", "Google OAuth", sealed: true, legacy: false;
    GoogleRefreshToken = 9, "google_refresh_token", "Google OAuth", sealed: true, legacy: false;
    GoogleTokenExpiry = 10, "google_token_expiry", "Google OAuth", sealed: false, legacy: false;
    GoogleDriveFolderId = 11, "google_drive_folder_id", "Google Drive", sealed: false, legacy: false;
}

impl SecretName {
    /// What the default catalogue says of it; of other names, what is true of most.
    pub fn entry(self) -> Entry {
        let unknown = Entry { name: self.as_str(), sealed: true, legacy: false, label: self.as_str() };
        ENTRIES.get(usize::from(self.0)).copied().unwrap_or(unknown)
    }
}
