//! Names of secrets. Which names exist is data in the database (`app_secrets.catalogue`); this module knows only which
//! texts can be a name at all.
//!
//! Names are interned: each distinct name of the process has a number, so that a name is copied, compared and hashed as
//! one integer. The table never shrinks and is bounded, because a caller could pass texts without end.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use serde::{Serialize, Serializer};

/// The most distinct names of one process. A database has at most 200.
const MAX_NAMES: usize = 1000;

/// The most of them that notifications may add: any login of the database can send one.
const MAX_FROM_NOTIFICATIONS: usize = 500;

/// The longest name, in bytes.
const MAX_LENGTH: usize = 48;

static TEXTS: [OnceLock<&'static str>; MAX_NAMES] = [const { OnceLock::new() }; MAX_NAMES];

/// std Mutex: never held across an await.
static NUMBERS: LazyLock<Mutex<HashMap<&'static str, u16>>> = LazyLock::new(Mutex::default);

/// The name of a secret: `^[a-z][a-z0-9_]{0,47}$`. Whether a secret of that name exists, only the database can say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretName(u16);

/// The text cannot be the name of a secret. It is not repeated: swapped arguments would put a value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

impl SecretName {
    /// The column in the database and the name in JavaScript.
    pub fn as_str(self) -> &'static str {
        // Whoever has a number has it from `intern`, which put the text there first.
        TEXTS[usize::from(self.0)].get().copied().unwrap_or_default()
    }

    /// The number under which this process knows the name. It means nothing to any other process.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The name of that number, where one has been given out.
    pub fn from_number(number: u16) -> Option<Self> {
        TEXTS.get(usize::from(number))?.get().map(|_| Self(number))
    }

    /// As parsing, but leaves room in the table for the names that the process itself uses: `None` where a name finds none.
    pub(crate) fn from_notification(text: &str) -> Result<Option<Self>, NotAName> {
        if is_name(text) { Ok(intern(text, MAX_FROM_NOTIFICATIONS)) } else { Err(NotAName) }
    }

    /// Every name that this process has met so far.
    pub(crate) fn met() -> impl Iterator<Item = Self> {
        let count = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner).len();
        (0..u16::try_from(count).unwrap_or(u16::MAX)).map(Self)
    }
}

fn intern(text: &str, most: usize) -> Option<SecretName> {
    if !is_name(text) {
        return None;
    }
    let mut numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(number) = numbers.get(text) {
        return Some(SecretName(*number));
    }
    let number = numbers.len();
    if number >= most {
        return None;
    }
    let text: &'static str = Box::leak(text.into());
    TEXTS[number].get_or_init(|| text);
    let number = u16::try_from(number).ok()?;
    numbers.insert(text, number);
    Some(SecretName(number))
}

fn is_name(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    text.len() <= MAX_LENGTH
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.as_bytes().iter().all(is_word)
}

impl FromStr for SecretName {
    type Err = NotAName;

    /// Refuses what cannot be a name, and any new name once the process has met 1,000.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        intern(text, MAX_NAMES).ok_or(NotAName)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SecretName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Says which of the known names were likely meant. Never repeats the text itself.
pub(crate) fn near_misses(text: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "`app-secrets names list` shows the names that this database knows".into();
    }
    // A longer text cannot be a misspelt name, and comparing it would cost its length for every name.
    let folded: String =
        text.chars().take(40).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect();
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|name| {
            let plain = name.replace('_', "");
            let distance = strsim::levenshtein(&folded, &plain);
            let shares_a_start = folded.len() >= 4 && plain.starts_with(&folded);
            (distance <= 3 || shares_a_start).then_some((distance, name.as_str()))
        })
        .collect();
    near.sort_unstable();
    match near.as_slice() {
        [] => format!("the names are {}", known.join(", ")),
        [(_, one)] => format!("did you mean {one}?"),
        several => {
            let names: Vec<&str> = several.iter().take(3).map(|(_, name)| *name).collect();
            format!("did you mean one of {}?", names.join(", "))
        }
    }
}

/// Names without repetition. Two reads that ask for the same set are the same read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NameSet(Names);

/// One name, by far the most frequent case, takes no allocation. `Many` never holds exactly one.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Names {
    One(SecretName),
    Many(Arc<[SecretName]>),
}

impl NameSet {
    /// The names, in the order in which this process met them.
    pub fn as_slice(&self) -> &[SecretName] {
        match &self.0 {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }

    /// How many names it holds.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Whether it holds that name.
    pub fn contains(&self, name: SecretName) -> bool {
        self.as_slice().binary_search(&name).is_ok()
    }

    /// The names, in the order in which this process met them.
    pub fn iter(&self) -> impl Iterator<Item = SecretName> {
        self.as_slice().iter().copied()
    }
}

impl Default for NameSet {
    fn default() -> Self {
        Self(Names::Many(Arc::default()))
    }
}

impl fmt::Debug for NameSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.as_slice()).finish()
    }
}

impl FromIterator<SecretName> for NameSet {
    fn from_iter<I: IntoIterator<Item = SecretName>>(names: I) -> Self {
        let mut names: Vec<SecretName> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [one] => Self::from(*one),
            _ => Self(Names::Many(names.into())),
        }
    }
}

impl From<SecretName> for NameSet {
    fn from(name: SecretName) -> Self {
        Self(Names::One(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_interned_once_and_reads_as_it_was_written() {
        assert_eq!(name("stripe_key"), name("stripe_key"));
        assert_ne!(name("stripe_key"), name("stripe_key_2"));
        assert_eq!(name("stripe_key").as_str(), "stripe_key");
        assert_eq!(SecretName::from_number(name("stripe_key").number()), Some(name("stripe_key")));
        assert_eq!(SecretName::from_number(u16::MAX), None);
    }

    #[test]
    fn only_what_can_be_a_column_is_a_name() {
        let longest = "a".repeat(MAX_LENGTH);
        assert!(longest.parse::<SecretName>().is_ok());
        let too_long = "a".repeat(MAX_LENGTH + 1);
        for text in ["", "A", "geminiApiKey", "1a", "_a", "a b", "a\"b", "ä", "sk-live-4711", &too_long] {
            assert_eq!(text.parse::<SecretName>(), Err(NotAName), "{text}");
        }
    }

    #[test]
    fn notifications_leave_room_for_names_that_are_used() {
        for at in 0..2 * MAX_NAMES {
            SecretName::from_notification(&format!("forged_{at}")).unwrap();
        }
        assert_eq!(SecretName::from_notification("one_too_many"), Ok(None));
        assert_eq!(SecretName::from_notification("Not a name"), Err(NotAName));
        assert!(SecretName::met().count() <= MAX_FROM_NOTIFICATIONS + 100);
        assert!("used_after_that".parse::<SecretName>().is_ok());
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_likely_one_and_never_repeated() {
        let known = ["gemini_api_key", "kling_access_key", "youtube_api_key"].map(String::from);
        assert_eq!(near_misses("geminiApiKey", &known), "did you mean gemini_api_key?");
        assert_eq!(near_misses("youtube", &known), "did you mean youtube_api_key?");
        assert_eq!(near_misses("kling_acces_key", &known), "did you mean kling_access_key?");
        let hint = near_misses("sk_live_4711", &known);
        assert!(!hint.contains("4711") && hint.contains("youtube_api_key"), "{hint}");
    }

    #[test]
    fn a_set_is_the_same_in_any_order() {
        let (one, other) = (name("set_a"), name("set_b"));
        assert_eq!(NameSet::from_iter([other, one, other]), NameSet::from_iter([one, other]));
        assert_eq!(NameSet::from_iter([one, one]), NameSet::from(one));
        assert!(NameSet::from_iter([one, other]).contains(other));
        assert!(!NameSet::from(one).contains(other) && NameSet::default().is_empty());
    }
}
