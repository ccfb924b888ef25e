//! The command line, for `bin/app-secrets.js`.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::answer::Answer;
use super::thread::Thread;
use crate::cli;

/// Runs the command line on this process's own streams, and tells `callback(null, exitCode)`.
#[napi(catch_unwind)]
pub fn run_cli(env: &Env, arguments: Vec<String>, callback: Unknown) -> napi::Result<()> {
    let work = Box::pin(async move { Ok(Answer::Number(cli::run(arguments).await.into())) });
    Thread::run(env, &callback, Ok(work))
}
