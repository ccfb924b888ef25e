//! The command line, for `bin/app-secrets.js`.

use napi::Env;
use napi_derive::napi;

use super::settle::{Promise, settle};
use crate::cli;

/// Runs the command line on this process's own streams, and resolves with its exit code.
#[napi(skip_typescript)]
pub fn run_cli(env: &Env, arguments: Vec<String>) -> Promise<'_> {
    settle(env, async move { Ok(cli::run(arguments).await) })
}
