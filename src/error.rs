//! The one error type: what went wrong, what to do about it, and whether trying again can help.
//! No message ever holds a value, a password or a connection string.

use std::time::Duration;

use uuid::Uuid;

use crate::name::{NotAName, SecretName};

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The message states the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call itself is wrong; nothing was sent.
    #[error("{0}")]
    InvalidArgument(String),

    /// No secret has that name. The name is not repeated: swapped arguments would put a value there.
    #[error("there is no secret of that name: {hint}")]
    UnknownSecret {
        /// The names that may have been meant.
        hint: String,
    },

    /// The value cannot be stored.
    #[error("{why}")]
    InvalidValue {
        /// The rule that it breaks.
        why: String,
    },

    /// The business does not exist.
    #[error("there is no business {business}: check the id, or create the business first")]
    BusinessNotFound {
        /// The id that was asked for.
        business: Uuid,
    },

    /// The login may not do this.
    #[error("permission denied ({sqlstate}): {remedy}")]
    PermissionDenied {
        /// What the database said.
        sqlstate: String,
        /// Which grant or credential to look at.
        remedy: &'static str,
    },

    /// Somebody else wrote in between; nothing was changed.
    #[error("{message}: read the versions again, then decide")]
    VersionConflict {
        /// The database function's own words, which name the secret and both versions.
        message: String,
    },

    /// The ciphertext cannot be opened.
    #[error(
        "{} cannot be decrypted: it refers to no row of Vault's, or Vault's key is another one (a restore without them?); \
         `app-secrets verify` says which, and writing a new value heals it",
        list(names)
    )]
    DecryptFailed {
        /// The secrets concerned; their neighbours are fine.
        names: Vec<SecretName>,
    },

    /// The database functions are not there, or are not those of this version.
    #[error("the database is not migrated for this version ({found}): run `app-secrets migrate`")]
    NotMigrated {
        /// What was found instead.
        found: String,
    },

    /// The connection would not be safe.
    #[error("{0}")]
    UnsafeConnection(String),

    /// The database cannot be reached, or is overloaded, right now.
    #[error("the database is unavailable: {cause}")]
    Unavailable {
        /// What is known of it.
        cause: String,
    },

    /// The database refused in a way that nothing here foresees.
    #[error(
        "the database refused with SQLSTATE {sqlstate} (a trigger or constraint of the app's?): look for it in the server's log"
    )]
    Server {
        /// What the database said.
        sqlstate: String,
    },

    /// No answer by the deadline. Of writes: it was not carried out.
    #[error("timed out: {what}")]
    Timeout {
        /// What was waited for, and how long.
        what: String,
    },

    /// A write was sent, and whether it was carried out is not known.
    #[error(
        "the write may or may not have been carried out ({cause}): read the version before you repeat it"
    )]
    UnknownOutcome {
        /// What cut the answer off.
        cause: String,
    },

    /// A migration could not get its locks, and has undone the step that wanted them.
    #[error("gave up on a lock: {0}")]
    LockTimeout(String),

    /// The plaintext and the sealed values are not the same, or Vault does not fit the table.
    #[error("{0}")]
    VerificationFailed(String),

    /// What was asked for is not done in this state, or not without a confirmation.
    #[error("{0}")]
    Refused(String),

    /// The client was closed.
    #[error("the client is closed: make a new one with connect()")]
    Closed,

    /// The configuration is incomplete or contradicts itself.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// The stable code, which JavaScript sees as `error.code`.
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidArgument(_) => Code::InvalidArgument,
            Self::UnknownSecret { .. } => Code::UnknownSecret,
            Self::InvalidValue { .. } => Code::InvalidValue,
            Self::BusinessNotFound { .. } => Code::BusinessNotFound,
            Self::PermissionDenied { .. } => Code::PermissionDenied,
            Self::VersionConflict { .. } => Code::VersionConflict,
            Self::DecryptFailed { .. } => Code::DecryptFailed,
            Self::NotMigrated { .. } => Code::NotMigrated,
            Self::UnsafeConnection(_) => Code::UnsafeConnection,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Timeout { .. } => Code::Timeout,
            Self::UnknownOutcome { .. } => Code::UnknownOutcome,
            Self::LockTimeout(_) => Code::LockTimeout,
            Self::VerificationFailed(_) => Code::VerificationFailed,
            Self::Refused(_) | Self::Server { .. } => Code::Refused,
            Self::Closed => Code::Closed,
            Self::Config(_) => Code::Config,
        }
    }

    /// Whether the fault may pass by itself. Only then may an older value stand in for a fresh one.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. })
    }

    pub(crate) fn no_answer(limit: Duration, what: &str) -> Self {
        Self::Timeout {
            what: format!(
                "{what} within {} ms: raise timeoutMs, or look at the database's load",
                limit.as_millis()
            ),
        }
    }

    pub(crate) fn unavailable(cause: impl Into<String>) -> Self {
        Self::Unavailable { cause: cause.into() }
    }
}

impl From<NotAName> for Error {
    fn from(_: NotAName) -> Self {
        Self::UnknownSecret { hint: "a name is made of lower-case letters, digits and underscores".into() }
    }
}

fn list(names: &[SecretName]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The stable code of an [`Error`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As JavaScript sees it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The call itself is wrong; nothing was sent.
    InvalidArgument = "INVALID_ARGUMENT",
    /// No secret has that name.
    UnknownSecret = "UNKNOWN_SECRET",
    /// The value cannot be stored.
    InvalidValue = "INVALID_VALUE",
    /// The business does not exist.
    BusinessNotFound = "BUSINESS_NOT_FOUND",
    /// The login may not do this.
    PermissionDenied = "PERMISSION_DENIED",
    /// Somebody else wrote in between; nothing was changed.
    VersionConflict = "VERSION_CONFLICT",
    /// The ciphertext cannot be opened.
    DecryptFailed = "DECRYPT_FAILED",
    /// The database functions are missing or of another version.
    NotMigrated = "NOT_MIGRATED",
    /// The connection would not be safe.
    UnsafeConnection = "UNSAFE_CONNECTION",
    /// The database cannot be reached right now: worth a retry.
    Unavailable = "UNAVAILABLE",
    /// No answer by the deadline. Of writes: not carried out.
    Timeout = "TIMEOUT",
    /// A write was sent, and whether it was carried out is not known.
    UnknownOutcome = "UNKNOWN_OUTCOME",
    /// A migration could not get its locks; run it again.
    LockTimeout = "LOCK_TIMEOUT",
    /// Plaintext and sealed values differ; nothing was dropped.
    VerificationFailed = "VERIFICATION_FAILED",
    /// Not done in this state, not without a confirmation, or not by a rule of the app's own in the database.
    Refused = "REFUSED",
    /// The client was closed.
    Closed = "CLOSED",
    /// The configuration is incomplete or contradicts itself.
    Config = "CONFIG",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_that_pass_by_themselves_are_transient() {
        assert!(Error::unavailable("connection refused").is_transient());
        assert!(Error::no_answer(Duration::from_secs(5), "no answer").is_transient());
        assert!(!Error::Server { sqlstate: "XX001".into() }.is_transient());
        assert!(!Error::UnknownOutcome { cause: "connection reset".into() }.is_transient());
        assert!(!Error::PermissionDenied { sqlstate: "42501".into(), remedy: "grant it" }.is_transient());
    }

    #[test]
    fn codes_are_upper_case_names() {
        for code in Code::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        }
    }
}
