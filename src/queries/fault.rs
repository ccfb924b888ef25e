//! What a failed statement of the migration role means.

use sqlx::postgres::PgDatabaseError;

use crate::error::Error;
use crate::store::Fault;

/// Why a statement failed. Its transaction was undone, unless the connection is lost.
#[derive(Debug)]
pub(crate) enum AdminFault {
    /// Another transaction holds what was wanted: worth another try.
    Busy,
    /// Somebody cancelled it; we do, when we are told to stop.
    Cancelled,
    /// Anything else.
    Other(Error),
}

impl AdminFault {
    /// For where neither locks nor cancelling are expected.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Busy => {
                Error::LockTimeout("Another transaction held a lock for too long. Run this again".into())
            }
            Self::Cancelled => Error::Timeout { what: "the statement was cancelled on the server".into() },
            Self::Other(error) => error,
        }
    }
}

impl From<AdminFault> for Error {
    fn from(fault: AdminFault) -> Self {
        fault.into_error()
    }
}

impl From<sqlx::Error> for AdminFault {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(server) = database.try_downcast_ref::<PgDatabaseError>()
        {
            match server.code() {
                "55P03" | "40P01" | "40001" => return Self::Busy,
                "57014" => return Self::Cancelled,
                _ => {}
            }
            if let Some(error) = in_its_words(server) {
                return Self::Other(error);
            }
        }
        Self::Other(Fault::from(error).error)
    }
}

/// Where the server's words are of names and states only, the operator needs them. Data exceptions, broken
/// constraints and what the app's own triggers raise can quote a value.
fn in_its_words(server: &PgDatabaseError) -> Option<Error> {
    let code = server.code();
    let message = server.message();
    // Our own functions' hints say what to do; the others' are for people who type SQL.
    let ours = || match server.hint() {
        Some(hint) => format!("{message}. {hint}"),
        None => message.to_owned(),
    };
    Some(match code {
        "AS006" => Error::VerificationFailed(ours()),
        "AS007" => Error::Refused(ours()),
        // Without a policy's filter nothing is hidden from us: `row_security` is off, see the session's settings.
        "42501" if message.contains("row-level security") => Error::Refused(format!(
            "row level security would hide rows from this login ({message}), so nothing could be proved of all of them. \
             Connect as a role with BYPASSRLS (`postgres` on Supabase has it), or let the owner run: alter table … no \
             force row level security"
        )),
        "42501" => Error::PermissionDenied {
            sqlstate: code.to_owned(),
            remedy: "connect as the migration role (ADMIN_DATABASE_URL; `postgres` on Supabase), which owns \
                     public.businesses",
        },
        // Its detail lists the views and functions that still use a column.
        "2BP01" => Error::Refused(format!(
            "{message}: {}. Change or drop those first",
            server.detail().unwrap_or_default().replace('\n', "; ")
        )),
        _ if matches!(code.get(..2), Some("0A" | "25" | "3F" | "42" | "54" | "55")) => {
            Error::Refused(format!("the database refuses: {message} (SQLSTATE {code})"))
        }
        _ => return None,
    })
}
