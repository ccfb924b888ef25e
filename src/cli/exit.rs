//! Exit codes, and what leads to them.

use crate::error::{Code, Error};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    /// Something is due, a check fails, or nothing is migrated yet.
    Pending = 2,
    LockTimeout = 3,
    VerificationFailed = 4,
    UnsafeConnection = 5,
    Refused = 6,
    /// `run`: the command is there, and cannot be executed.
    CommandNotRun = 126,
    /// `run`: there is no such command.
    CommandNotFound = 127,
    /// As shells number a process that Ctrl-C ended.
    Stopped = 130,
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.code() {
            Code::NotMigrated => Self::Pending,
            Code::LockTimeout => Self::LockTimeout,
            Code::VerificationFailed => Self::VerificationFailed,
            Code::UnsafeConnection => Self::UnsafeConnection,
            Code::Refused => Self::Refused,
            _ => Self::Failed,
        }
    }
}
