//! The addon's threads. Shared by all JavaScript threads of the process, and never in the way of its exit.

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// Made on first use: a process that only loads the addon gets no thread from it.
static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// The runtime that all clients of the process share.
pub(super) fn handle() -> Result<&'static Handle> {
    let runtime = RUNTIME.get_or_try_init(|| {
        // The work is waiting for sockets. One thread does it; the second keeps calls answered while a handshake is
        // busy with its key derivation.
        Builder::new_multi_thread().worker_threads(2).thread_name("app-secrets").enable_all().build()
    });
    let runtime = runtime
        .map_err(|error| Error::unavailable(format!("no thread can be started ({})", error.kind())))?;
    Ok(runtime.handle())
}
