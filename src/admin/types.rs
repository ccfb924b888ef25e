//! The names of a database as TypeScript: an augmentation of the package's `Register`.

use std::fmt::Write;

/// A module that makes `SecretName` the union of these names.
pub fn declarations(names: &[String]) -> String {
    let mut text = String::from(
        "// Made by `app-secrets types`: the secrets that the database knows. After `app-secrets names add` or\n\
         // `names retire`, run it again.\n\
         import '@app/secrets'\n\n\
         declare module '@app/secrets' {\n  interface Register {\n    secretName:",
    );
    if names.is_empty() {
        text.push_str(" never");
    }
    for name in names {
        // Names are letters, digits and underscores. Writing to a String cannot fail.
        let _ = write!(text, "\n      | '{name}'");
    }
    text.push_str("\n  }\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_the_union() {
        let text = declarations(&["stripe_key".into(), "sms_token".into()]);
        assert!(text.contains("secretName:\n      | 'stripe_key'\n      | 'sms_token'\n"), "{text}");
        assert!(declarations(&[]).contains("secretName: never\n"));
    }
}
