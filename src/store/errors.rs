//! What the server's and the driver's errors mean: for the caller, and for the connection.
//!
//! Detail, hint and context of a server's error can hold a whole row and are never looked at; its message is passed
//! on only where our own functions raised it.

use std::error::Error as StdError;
use std::io;

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use uuid::Uuid;

use super::connect::NotLoopback;
use crate::error::Error;

/// A statement failed.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub(crate) struct Fault {
    /// For the caller.
    pub(crate) error: Error,
    /// The connection is gone, or is of no use any more.
    pub(crate) lost: bool,
    /// The statement was certainly not carried out.
    pub(crate) unexecuted: bool,
    /// The server did not know a statement that was prepared a moment ago, or knew another of its name: a transaction
    /// pooler stands in between.
    pub(crate) pooled: bool,
    /// The transaction met another one, and was rolled back: the same statement may succeed a moment later.
    pub(crate) conflict: bool,
}

/// No connection came about.
#[derive(Debug)]
pub(crate) struct ConnectFault {
    /// For the caller.
    pub(crate) error: Error,
    /// A server that is starting or restarting fails like this: worth another attempt soon.
    pub(crate) passing: bool,
}

impl Fault {
    /// Of a statement about that business.
    pub(super) fn of(error: sqlx::Error, business: Uuid) -> Self {
        Self::new(error, Some(business))
    }

    /// The statement was sent, its commit was not.
    pub(super) fn of_uncommitted(error: sqlx::Error, business: Uuid) -> Self {
        // The transaction is still open: only closing the connection is certain to end it.
        Self { lost: true, unexecuted: true, ..Self::new(error, Some(business)) }
    }

    /// Nothing was sent yet that could change anything.
    pub(super) fn before_write(error: sqlx::Error) -> Self {
        Self { lost: true, unexecuted: true, ..Self::new(error, None) }
    }

    pub(super) fn other_version(found: &str) -> Self {
        let error = Error::NotMigrated { found: found.to_owned() };
        Self { error, lost: false, unexecuted: false, pooled: false, conflict: false }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    fn new(error: sqlx::Error, business: Option<Uuid>) -> Self {
        if let sqlx::Error::Database(error) = &error
            && let Some(error) = error.try_downcast_ref::<PgDatabaseError>()
        {
            return Self::of_server(error, business);
        }
        let decodes =
            matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnIndexOutOfBounds { .. });
        if decodes {
            return Self::other_version("a function answers columns of other types");
        }
        Self { error: of_driver(&error), lost: true, unexecuted: false, pooled: false, conflict: false }
    }

    fn of_server(error: &PgDatabaseError, business: Option<Uuid>) -> Self {
        let code = error.code();
        // PostgreSQL reports an error instead of completing a statement, never after it. A pooler that loses its
        // server reports FATAL, at any time: only PostgreSQL's own farewells are certain among those.
        let is_fatal = !matches!(error.severity(), PgSeverity::Error);
        let is_farewell = matches!(code, "57P01" | "57P03" | "57P05" | "25P03" | "25P04");
        Self {
            error: translate(code, error.message(), business),
            lost: is_fatal || code.starts_with("08") || code.starts_with("57P") || code == "25006",
            unexecuted: !is_fatal || is_farewell,
            // Unknown, there already, or another client's under the same name, which takes other parameters.
            pooled: matches!(code, "26000" | "42P05" | "08P01"),
            conflict: !is_fatal && matches!(code, "40001" | "40P01" | "PT409"),
        }
    }

    /// Whether another connection may succeed where this one did not.
    pub(crate) fn is_worth_a_fresh_connection(&self) -> bool {
        self.pooled || (self.lost && self.error.is_transient())
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::new(error, None)
    }
}

impl ConnectFault {
    /// `place` is the host and port.
    pub(crate) fn new(error: &sqlx::Error, place: &str) -> Self {
        if let sqlx::Error::Database(error) = error
            && let Some(error) = error.try_downcast_ref::<PgDatabaseError>()
        {
            let passing = matches!(error.code(), "57P01" | "57P03" | "53300" | "XX000");
            return Self { error: translate_connecting(error.code(), error.message()), passing };
        }
        match error {
            sqlx::Error::Tls(cause) => {
                Self { error: unverified(place, &innermost(cause.as_ref())), passing: false }
            }
            // rustls reports a certificate that it refuses through the socket.
            sqlx::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                Self { error: unverified(place, &cause.to_string()), passing: false }
            }
            sqlx::Error::Io(cause) => Self {
                error: Error::unavailable(format!("{place}: {}", in_words(cause))),
                passing: matches!(
                    cause.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::NotFound
                        | io::ErrorKind::UnexpectedEof
                ),
            },
            sqlx::Error::Configuration(cause) if cause.is::<NotLoopback>() => Self {
                error: Error::UnsafeConnection(format!(
                    "{place} is another machine: the name resolves to an address that is not loopback, so the password \
                     would go over the network in clear. Correct the hosts file, or name the database's own host"
                )),
                passing: false,
            },
            sqlx::Error::Protocol(_) => Self {
                error: Error::unavailable(format!(
                    "{place}: what answers there does not speak PostgreSQL's protocol"
                )),
                passing: false,
            },
            other => Self { error: of_driver(other), passing: false },
        }
    }
}

fn unverified(place: &str, cause: &str) -> Error {
    Error::UnsafeConnection(format!(
        "no verified TLS connection to {place} ({cause}): pass the database's CA certificate as `ca` (Supabase: \
         Project Settings, Database, SSL), and the host name that the certificate is for"
    ))
}

fn innermost(mut error: &(dyn StdError + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; is the server running, and is this its port?".into()
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            // Supabase's direct hosts have only an IPv6 address.
            format!("{}; is the host IPv6-only? Then use the pooler's host", error.kind())
        }
        io::ErrorKind::NotFound => "there is no such unix socket; is the server running?".into(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        // The resolver's own words, which have no kind.
        _ => error.to_string(),
    }
}

fn of_driver(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Io(cause) => Error::unavailable(in_words(cause)),
        sqlx::Error::Tls(cause) => Error::unavailable(innermost(cause.as_ref())),
        // The driver quotes what it did not understand, and that can be anything.
        sqlx::Error::Protocol(_) => Error::unavailable("the server answered something unexpected"),
        _ => Error::unavailable("the database driver failed"),
    }
}

/// The database knows no secret of that name. Whoever still has the text can give a better hint.
pub(crate) fn unknown_secret() -> Error {
    Error::UnknownSecret { hint: "`app-secrets names list` shows the names that this database knows".into() }
}

/// The login's scope does not reach this secret. The statement as a whole was allowed.
pub(crate) fn permission_denied_for_secret() -> Error {
    Error::PermissionDenied {
        sqlstate: SCOPE.to_owned(),
        remedy: "this login may not do that with this secret: widen its scope with app_secrets.grant_scope()",
    }
}

/// Of a login whose scope does not reach a secret.
const SCOPE: &str = "AS005";

/// Whether the error concerns one secret alone, and not the login as a whole.
pub(crate) fn is_of_scope(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { sqlstate, .. } if sqlstate == SCOPE)
}

/// As [`translate`], where no statement was sent yet: nothing of ours can be missing there.
fn translate_connecting(sqlstate: &str, message: &str) -> Error {
    match sqlstate {
        // Supavisor's "Tenant or user not found", also of a project that is paused or being restored.
        "XX000" => Error::unavailable(
            "the server or the pooler in front of it refuses the connection (SQLSTATE XX000). With Supabase's pooler: is its \
             host the project's, is the user spelled user.<project's reference>, and is the project running?",
        ),
        "42501" => translate(sqlstate, message, None),
        _ if matches!(sqlstate.get(..2), Some("22" | "42")) => Error::Config(format!(
            "the server refuses a setting that the connection begins with (SQLSTATE {sqlstate}): look at PGOPTIONS, \
             and at what `alter role` and `alter database … set` have set for this login"
        )),
        _ => translate(sqlstate, message, None),
    }
}

fn translate(sqlstate: &str, message: &str, business: Option<Uuid>) -> Error {
    let words = || format!("SQLSTATE {sqlstate}");
    match sqlstate {
        "AS001" => unknown_secret(),
        "AS002" => Error::InvalidValue { why: message.to_owned() },
        "AS003" => match business {
            Some(business) => Error::BusinessNotFound { business },
            None => Error::InvalidArgument(message.to_owned()),
        },
        "AS004" => Error::VersionConflict { message: message.to_owned() },
        "AS005" => permission_denied_for_secret(),
        "AS006" => Error::VerificationFailed(message.to_owned()),
        "AS007" | "AS008" => Error::Refused(message.to_owned()),
        "AS009" => {
            Error::unavailable("the secrets are being sealed with a new key; writes wait until that is done")
        }
        "22023" => Error::InvalidArgument(format!("the database refuses an argument ({})", words())),
        "42501" => Error::PermissionDenied {
            sqlstate: sqlstate.to_owned(),
            remedy: "connect as a login that is a member of app_secrets_service",
        },
        "3D000" => Error::Config("there is no database of that name: check the connection string".into()),
        "25006" => Error::unavailable("the server is read-only: it is a standby, or was just demoted"),
        "40001" | "40P01" | "PT409" => {
            Error::unavailable(format!("the transaction met another ({})", words()))
        }
        "55P03" => Error::Timeout { what: "another transaction held the lock for too long".into() },
        "25P04" => Error::Timeout { what: "the server ended the transaction (transaction_timeout?)".into() },
        "57014" => Error::Timeout { what: "the server cancelled the statement (statement_timeout?)".into() },
        _ => match sqlstate.get(..2) {
            Some("28") => Error::PermissionDenied {
                sqlstate: sqlstate.to_owned(),
                remedy: "check the user and the password of the connection string, that the login is not disabled, and the server's pg_hba.conf \
                         (does it want sslmode=require?)",
            },
            Some("3F" | "42") => Error::NotMigrated { found: words() },
            Some("08" | "53" | "57" | "58") => Error::unavailable(words()),
            _ => Error::Server { sqlstate: sqlstate.to_owned() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn every_sqlstate_of_the_contract_has_its_code() {
        let business = Some(Uuid::nil());
        for (sqlstate, code) in [
            ("AS001", Code::UnknownSecret),
            ("AS002", Code::InvalidValue),
            ("AS003", Code::BusinessNotFound),
            ("AS004", Code::VersionConflict),
            ("AS005", Code::PermissionDenied),
            ("AS006", Code::VerificationFailed),
            ("AS007", Code::Refused),
            ("AS008", Code::Refused),
            ("AS009", Code::Unavailable),
            ("PT409", Code::Unavailable),
            ("22023", Code::InvalidArgument),
            ("42501", Code::PermissionDenied),
            ("42883", Code::NotMigrated),
            ("3F000", Code::NotMigrated),
            ("42P01", Code::NotMigrated),
            ("28P01", Code::PermissionDenied),
            ("3D000", Code::Config),
            ("53300", Code::Unavailable),
            ("57P01", Code::Unavailable),
            ("25006", Code::Unavailable),
            ("25P04", Code::Timeout),
            ("55P03", Code::Timeout),
            ("57014", Code::Timeout),
            ("XX001", Code::Refused),
            ("P0001", Code::Refused),
            ("23514", Code::Refused),
        ] {
            assert_eq!(translate(sqlstate, "words", business).code(), code, "{sqlstate}");
        }
    }

    #[test]
    fn a_refused_connection_is_not_called_a_missing_migration() {
        for (sqlstate, code) in [
            ("XX000", Code::Unavailable),
            ("42704", Code::Config),
            ("42601", Code::Config),
            ("22023", Code::Config),
            ("42501", Code::PermissionDenied),
            ("28P01", Code::PermissionDenied),
            ("3D000", Code::Config),
            ("53300", Code::Unavailable),
        ] {
            let error = translate_connecting(sqlstate, "sk_live_4711");
            assert_eq!(error.code(), code, "{sqlstate}");
            assert!(!error.to_string().contains("4711"), "{error}");
        }
    }

    #[test]
    fn a_servers_message_is_passed_on_only_where_our_functions_wrote_it() {
        for sqlstate in ["23502", "22P02", "42501", "XX000", "P0001", "22023", "42883", "57014"] {
            assert!(
                !translate(sqlstate, "sk_live_4711", Some(Uuid::nil())).to_string().contains("4711"),
                "{sqlstate}"
            );
        }
        assert!(
            translate("AS004", "grok_api_key is at version 3, not 2", None).to_string().contains("version 3")
        );
    }

    #[test]
    fn only_faults_that_pass_are_worth_another_connection() {
        let fault = |error, lost| Fault { error, lost, unexecuted: false, pooled: false, conflict: false };
        assert!(fault(Error::unavailable("reset"), true).is_worth_a_fresh_connection());
        assert!(!fault(Error::unavailable("deadlock"), false).is_worth_a_fresh_connection());
        assert!(!fault(Error::NotMigrated { found: "x".into() }, true).is_worth_a_fresh_connection());
    }
}
