//! What may be stored, checked before anything is sent. The database checks again.

use secrecy::SecretString;
use uuid::Uuid;

use crate::error::{Error, Result};

/// The longest value, in bytes of UTF-8 after trimming.
pub const MAX_BYTES: usize = 65_536;

/// The longest that is looked at, in UTF-16 units with the white space around it: sixteen times [`MAX_BYTES`], so that
/// padding never decides, and nobody has a gigabyte copied to be told that it is no key.
pub const MAX_UNTRIMMED: usize = 1_048_576;

/// The white space that JavaScript's `String.prototype.trim` removes, which is not quite Unicode's:
/// it knows the byte order mark and does not know NEXT LINE.
/// <https://tc39.es/ecma262/#sec-white-space>
fn is_white_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// All of that white space: what `app_secrets.normalize` trims.
pub(crate) fn white_space() -> String {
    ('\0'..char::MAX).filter(|&c| is_white_space(c)).collect()
}

/// Trims and checks a value. A blank one comes back as `None`: it clears the secret.
pub fn normalise(value: &str) -> Result<Option<SecretString>> {
    let refuse = |why: &str| Err(Error::InvalidValue { why: why.to_owned() });
    let value = value.trim_matches(is_white_space);
    if value.len() > MAX_BYTES {
        return refuse("the value is longer than 65,536 bytes of UTF-8, more than any provider's key");
    }
    if value.contains('\0') {
        return refuse("the value contains a NUL character, which PostgreSQL cannot store");
    }
    Ok((!value.is_empty()).then(|| SecretString::from(value)))
}

/// Reads a business's id. The text is not repeated in the error: swapped arguments would put a value there.
pub fn business_id(text: &str) -> Result<Uuid> {
    // Only the hyphenated form: `uuid` would take a URN and braces as well, which PostgreSQL partly refuses.
    if text.len() != 36 {
        return Err(not_a_business_id());
    }
    Uuid::try_parse(text).map_err(|_| not_a_business_id())
}

pub(crate) fn not_a_business_id() -> Error {
    Error::InvalidArgument(
        "businessId must be a UUID such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301: pass businesses.id".into(),
    )
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::error::Code;

    fn normalised(text: &str) -> Option<String> {
        normalise(text).unwrap().map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn white_space_is_trimmed_as_javascript_does() {
        assert_eq!(normalised("\u{feff}\t sk_live \u{a0}\u{2029}\n").as_deref(), Some("sk_live"));
        assert_eq!(normalised("\u{85}sk").as_deref(), Some("\u{85}sk"));
    }

    #[test]
    fn a_blank_value_clears() {
        assert_eq!(normalised(""), None);
        assert_eq!(normalised(" \u{3000}\r\n"), None);
    }

    #[test]
    fn the_bound_is_counted_in_bytes_after_trimming() {
        let longest = "é".repeat(MAX_BYTES / 2);
        assert!(normalise(&format!("  {longest}  ")).is_ok());
        assert_eq!(normalise(&format!("{longest}x")).unwrap_err().code(), Code::InvalidValue);
    }

    #[test]
    fn a_nul_character_is_refused_without_repeating_the_value() {
        let error = normalise("sk_live\u{0}4711").unwrap_err();
        assert_eq!(error.code(), Code::InvalidValue);
        assert!(!error.to_string().contains("4711"));
    }

    #[test]
    fn only_a_hyphenated_uuid_is_a_business_id() {
        assert!(business_id("3F2504E0-4F89-41D3-9A0C-0305E82C3301").is_ok());
        for text in
            ["", "3f2504e04f8941d39a0c0305e82c3301", "{3f2504e0-4f89-41d3-9a0c-0305e82c3301}", "sk_live_4711"]
        {
            let error = business_id(text).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
    }
}
