//! The Node.js addon. It converts arguments, calls the core, and converts what comes back.
//!
//! Only `lib/native.js` uses it. Arguments come checked, and go back the way they came where they are not: no call
//! throws but for a broken `lib`. There are no promises here; an outcome is told to a callback, `(code, message)` where
//! it failed and `(null, value)` where it did not. Everything that is made here belongs to the realm of the process's
//! first script, so nothing but strings, numbers, booleans and arrays of strings is: `lib` makes the rest.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "what is made in an Env borrows from it")]

pub mod admin;
mod admin_json;
mod answer;
mod bulk;
mod cached;
mod calls;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
mod js;
mod json;
mod options;
mod outbox;
mod runtime;
mod thread;
pub mod watch;
