//! The list of secrets, which everything else is generated from or tested against.
//! Knows nothing of how they are stored.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// What the catalogue says of one secret.
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
    /// Who calls for it.
    pub used_by: &'static [&'static str],
}

macro_rules! catalogue {
    ($($variant:ident = $name:literal, $label:literal, sealed: $sealed:literal, legacy: $legacy:literal,
       used by $used_by:expr;)*) => {
        /// A secret that the database knows, by its column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SecretName {
            $(#[doc = concat!("`", $name, "`: ", $label, ".")] $variant,)*
        }

        impl SecretName {
            /// Every secret, in the order of the catalogue.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// What the catalogue says of it.
            pub const fn entry(self) -> &'static Entry {
                match self {
                    $(Self::$variant => &Entry {
                        name: $name, sealed: $sealed, legacy: $legacy, label: $label, used_by: &$used_by,
                    },)*
                }
            }
        }
    };
}

catalogue! {
    GeminiApiKey = "gemini_api_key", "Google Gemini", sealed: true, legacy: true,
        used by ["mayaService", "adService", "systemRoutes", "backend_server", "onboarding", "settings"];
    GrokApiKey = "grok_api_key", "xAI Grok", sealed: true, legacy: true,
        used by ["adService", "systemRoutes", "backend_server", "settings"];
    ClaudeApiKey = "claude_api_key", "Anthropic Claude", sealed: true, legacy: true,
        used by ["mayaService", "backend_server", "settings"];
    YoutubeApiKey = "youtube_api_key", "YouTube Data API", sealed: true, legacy: true,
        used by ["backend_server", "YouTubeService", "settings"];
    KlingAccessKey = "kling_access_key", "Kling", sealed: true, legacy: true,
        used by ["klingRoutes", "settings"];
    KlingSecretKey = "kling_secret_key", "Kling", sealed: true, legacy: true,
        used by ["klingRoutes", "settings"];
    GlobalSmsApiKey = "global_sms_api_key", "Global SMS", sealed: true, legacy: true,
        used by ["backend_server", "settings"];
    WhatsappApiKey = "whatsapp_api_key", "WhatsApp", sealed: true, legacy: true,
        used by ["backend_server", "settings"];
    GoogleAccessToken = "google_access_token", "Google OAuth", sealed: true, legacy: false,
        used by ["google-auth"];
    GoogleRefreshToken = "google_refresh_token", "Google OAuth", sealed: true, legacy: false,
        used by ["google-auth"];
    GoogleTokenExpiry = "google_token_expiry", "Google OAuth", sealed: false, legacy: false,
        used by ["google-auth"];
    GoogleDriveFolderId = "google_drive_folder_id", "Google Drive", sealed: false, legacy: false,
        used by ["google-auth"];
}

impl SecretName {
    /// The column in the database and the name in JavaScript.
    pub const fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// How many names there are.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SecretName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| Error::UnknownSecret { hint: near_misses(text) })
    }
}

/// Says which names were likely meant. Never repeats the text itself: swapped arguments would put a value there.
fn near_misses(text: &str) -> String {
    // A longer text cannot be a misspelt name, and comparing it would cost its length twelve times.
    let folded: String =
        text.chars().take(40).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
    let mut near: Vec<(usize, &str)> = SecretName::ALL
        .into_iter()
        .map(SecretName::as_str)
        .filter_map(|name| {
            let plain = name.replace('_', "");
            let distance = distance(&folded, &plain);
            let shares_a_start = folded.len() >= 4 && plain.starts_with(&folded);
            (distance <= 3 || shares_a_start).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();

    match near.as_slice() {
        [] => format!("the names are {}", SecretName::ALL.map(SecretName::as_str).join(", ")),
        [(_, one)] => format!("did you mean {one}?"),
        several => {
            let names: Vec<&str> = several.iter().take(3).map(|(_, name)| *name).collect();
            format!("did you mean one of {}?", names.join(", "))
        }
    }
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// A set of names, in the order of the catalogue. Two reads that ask for the same set are the same read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NameSet(u16);

impl NameSet {
    /// How many names it holds.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds that name.
    pub const fn contains(self, name: SecretName) -> bool {
        self.0 & (1 << name as u16) != 0
    }

    /// The names, in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = SecretName> {
        SecretName::ALL.into_iter().filter(move |name| self.contains(*name))
    }
}

impl FromIterator<SecretName> for NameSet {
    fn from_iter<I: IntoIterator<Item = SecretName>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |set, name| set | (1 << name as u16)))
    }
}

impl From<SecretName> for NameSet {
    fn from(name: SecretName) -> Self {
        Self::from_iter([name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_itself() {
        for name in SecretName::ALL {
            assert_eq!(name.as_str().parse::<SecretName>().unwrap(), name);
        }
    }

    #[test]
    fn eight_names_stood_in_plaintext_and_ten_are_sealed() {
        assert_eq!(SecretName::COUNT, 12);
        assert_eq!(SecretName::ALL.iter().filter(|name| name.entry().legacy).count(), 8);
        assert_eq!(SecretName::ALL.iter().filter(|name| name.entry().sealed).count(), 10);
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_likely_one() {
        let hint = |text: &str| text.parse::<SecretName>().unwrap_err().to_string();
        assert!(hint("geminiApiKey").contains("gemini_api_key"), "{}", hint("geminiApiKey"));
        assert!(hint("youtube").contains("youtube_api_key"), "{}", hint("youtube"));
        assert!(hint("kling_acces_key").contains("kling_access_key"));
    }

    #[test]
    fn an_unknown_name_is_never_repeated() {
        let message = "sk_live_4711".parse::<SecretName>().unwrap_err().to_string();
        assert!(!message.contains("4711"));
        assert!(message.contains("whatsapp_api_key"));
    }

    #[test]
    fn a_set_keeps_the_order_of_the_catalogue() {
        let set: NameSet =
            [SecretName::GrokApiKey, SecretName::GeminiApiKey, SecretName::GrokApiKey].into_iter().collect();
        assert_eq!(set.len(), 2);
        assert_eq!(set.iter().collect::<Vec<_>>(), [SecretName::GeminiApiKey, SecretName::GrokApiKey]);
    }
}
