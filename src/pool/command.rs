//! What can wait for a connection, apart from reads of secrets: one statement each.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::worker::Server;
use crate::error::{Error, Result};
use crate::store::Statement;

/// Decides between a worker that begins with a command and a caller who gives it up: the first to take the claim wins.
/// Without it a write could be reported as given up and be carried out all the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether it was still free.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Tells the caller. Run by the worker once the connection is free again.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

type Run<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// A statement of its own and the caller who waits for it.
pub(super) struct Command {
    claim: Claim,
    work: Box<dyn Work>,
}

impl Command {
    pub(super) fn new<S: Statement>(
        statement: S,
        deadline: Instant,
    ) -> (Self, Claim, oneshot::Receiver<Result<S::Answer>>) {
        let (sender, receiver) = oneshot::channel();
        let claim = Claim::default();
        let work = Box::new(Pending { statement, deadline, sender });
        (Self { claim: claim.clone(), work }, claim, receiver)
    }

    pub(super) fn claim(&self) -> bool {
        self.claim.take()
    }

    /// Whether its caller waits no longer, as long as no worker has begun with it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.claim.is_taken()
    }

    pub(super) fn run<'a>(self, server: &'a mut Server<'_>) -> Run<'a> {
        self.work.run(server)
    }

    pub(super) fn fail(self, error: Error) {
        self.work.fail(error);
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").finish_non_exhaustive()
    }
}

/// Hides which statement it is.
trait Work: Send {
    fn run<'a>(self: Box<Self>, server: &'a mut Server<'_>) -> Run<'a>;
    fn fail(self: Box<Self>, error: Error);
}

struct Pending<S: Statement> {
    statement: S,
    deadline: Instant,
    sender: oneshot::Sender<Result<S::Answer>>,
}

impl<S: Statement> Work for Pending<S> {
    fn run<'a>(self: Box<Self>, server: &'a mut Server<'_>) -> Run<'a> {
        Box::pin(async move {
            let outcome = server.execute(&self.statement, self.deadline).await;
            if S::WRITES {
                server.shared.stop_joining();
            }
            // A receiver that has given up meanwhile needs no answer.
            Box::new(move || drop(self.sender.send(outcome))) as Reply
        })
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.sender.send(Err(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_either_begun_or_given_up_never_both() {
        let claim = Claim::default();
        let others = claim.clone();
        assert!(claim.take());
        assert!(!others.take());
    }
}
