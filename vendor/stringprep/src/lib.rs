//! SASLprep for the driver's SCRAM, as libpq and PostgreSQL apply it.
//!
//! The crate that this stands in for refuses a text that the profile of 2002 prohibits, such as a password with an
//! emoji. PostgreSQL hashes such a password as it is when it is set, and libpq sends it as it is:
//! <https://www.postgresql.org/docs/current/sasl-authentication.html#SASL-SCRAM-SHA-256>. The tables are those of
//! rust-stringprep 0.1.5, whose licence is beside this crate.

#![forbid(unsafe_code)]

mod rfc3454;
mod tables;

use std::borrow::Cow;
use std::convert::Infallible;

use unicode_normalization::UnicodeNormalization;

/// Prepares a text; one that the profile prohibits stays as it is.
///
/// # Errors
/// None. The driver expects a result.
pub fn saslprep(text: &str) -> Result<Cow<'_, str>, Infallible> {
    Ok(prepared(text).map_or(Cow::Borrowed(text), Cow::Owned))
}

/// RFC 4013, section 2; `None` where it prohibits the text.
fn prepared(text: &str) -> Option<String> {
    let mapped = text
        .chars()
        .map(|c| if tables::non_ascii_space_character(c) { ' ' } else { c })
        .filter(|&c| !tables::commonly_mapped_to_nothing(c));
    let normalized = mapped.nfkc().collect::<String>();
    let is_allowed = !normalized.is_empty()
        && !normalized.chars().any(is_prohibited)
        && !is_prohibited_bidirectional_text(&normalized);
    is_allowed.then_some(normalized)
}

fn is_prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 3454, section 6: writing from the right and from the left do not mix, and the former begins and ends the text.
fn is_prohibited_bidirectional_text(text: &str) -> bool {
    let is_at_edge = |c: Option<char>| c.is_some_and(tables::bidi_r_or_al);
    text.contains(tables::bidi_r_or_al)
        && (text.contains(tables::bidi_l)
            || !is_at_edge(text.chars().next())
            || !is_at_edge(text.chars().next_back()))
}

#[cfg(test)]
mod tests {
    use super::saslprep;

    #[test]
    fn what_the_profile_allows_is_prepared_and_the_rest_stays() {
        for (text, prepared) in [
            ("plain", "plain"),
            ("soft\u{ad}hyphen", "softhyphen"),
            ("non\u{a0}break", "non break"),
            ("\u{2168}", "IX"),
            ("\u{627}1\u{628}", "\u{627}1\u{628}"),
            ("pass😀word\u{ad}", "pass😀word\u{ad}"),
            ("bell\u{7}\u{ad}", "bell\u{7}\u{ad}"),
            ("\u{627}1\u{ad}", "\u{627}1\u{ad}"),
            ("\u{ad}", "\u{ad}"),
            ("", ""),
        ] {
            assert_eq!(saslprep(text).unwrap_or_default(), prepared);
        }
    }
}
