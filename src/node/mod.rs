//! The Node.js addon. It converts arguments, calls the core, and converts what comes back.
//!
//! Every function returns a promise, and every failure is a rejection with a `code`, wrong arguments included. Only
//! `watch` and `stats`, which wait for nothing, return at once, and throw.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "what is made in an Env borrows from it")]

// First, so that the class's own methods come first in index.d.ts.
pub mod secrets;

pub mod admin;
pub mod admin_types;
mod arguments;
pub mod cached;
mod calls;
#[cfg(feature = "cli")]
pub mod cli;
pub mod consumers;
mod environment;
mod js;
mod options;
mod progress;
pub mod results;
mod runtime;
mod settle;
pub mod shared;
pub mod stats;
pub mod types;
pub mod watch;
