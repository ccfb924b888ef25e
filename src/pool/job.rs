//! What can wait for a connection, apart from reads of secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::store::{Listed, Versions, WriteRequest};

/// Whoever takes it first decides: a worker to begin with the job, or its caller to give it up.
/// Without it a write could be reported as given up and be carried out all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether it was still free.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A caller who waits for a `T`.
#[derive(Debug)]
pub(super) struct Job<T> {
    pub(super) reply: oneshot::Sender<Result<T>>,
    pub(super) deadline: Instant,
    pub(super) claim: Claim,
}

impl<T> Job<T> {
    pub(super) fn settle(self, outcome: Result<T>) {
        // The caller may be gone: then nobody is left to tell.
        let _ = self.reply.send(outcome);
    }
}

/// A statement of its own, not part of a batch.
#[derive(Debug)]
pub(super) enum Errand {
    Write(Write),
    List(Listing),
    Ping(Ping),
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) request: WriteRequest,
    pub(super) job: Job<Versions>,
}

#[derive(Debug)]
pub(super) struct Listing {
    pub(super) business: Uuid,
    pub(super) job: Job<Vec<Listed>>,
}

#[derive(Debug)]
pub(super) struct Ping {
    pub(super) job: Job<()>,
}

impl Errand {
    pub(super) fn claim(&self) -> bool {
        match self {
            Self::Write(write) => write.job.claim.take(),
            Self::List(listing) => listing.job.claim.take(),
            Self::Ping(ping) => ping.job.claim.take(),
        }
    }

    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Write(write) => write.job.settle(Err(error)),
            Self::List(listing) => listing.job.settle(Err(error)),
            Self::Ping(ping) => ping.job.settle(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_either_begun_or_given_up_never_both() {
        let claim = Claim::default();
        let others = claim.clone();
        assert!(claim.take());
        assert!(!others.take());
    }
}
