//! What the migration role sends: the ledger, the backfill, proofs and inspections. Counts, ids and names come back,
//! never a value.

pub(crate) mod access;
pub(crate) mod backfill;
pub(crate) mod catalogue;
pub(crate) mod copies;
pub(crate) mod dependents;
mod fault;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod ledger;
pub(crate) mod logins;
pub(crate) mod marks;
pub(crate) mod names;
pub(crate) mod pages;
pub(crate) mod preflight;
pub(crate) mod proof;
pub(crate) mod rekey;
pub(crate) mod scopes;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod shape;
pub(crate) mod statements;

pub(crate) use self::fault::AdminFault;

/// What a statement of the migration role gives.
pub(crate) type Answer<T> = Result<T, AdminFault>;
