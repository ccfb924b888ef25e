//! The client, as a class.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::settle::{Promise, settle};
use super::stats::Stats;
use super::watch::{self, Watcher};
use super::{calls, options};
use crate::client::Client;
use crate::error::Result;

/// Reads and writes the secrets of businesses. Made by `connect`; safe to share by everything in the process.
#[napi]
pub struct Secrets {
    inner: Client,
}

/// Makes a client. Waits for no connection, so that a service can start before its database: `ping` tells. With `cache`
/// its listener connects in the background.
///
/// Rejects with `CONFIG`, `UNSAFE_CONNECTION` or `INVALID_ARGUMENT` where the options cannot work.
#[napi(ts_args_type = "options?: ConnectOptions", ts_return_type = "Promise<Secrets>")]
pub fn connect<'env>(env: &'env Env, options: Unknown) -> Promise<'env> {
    let config = options::config(env, &options);
    settle(env, async move { Ok(Secrets { inner: Client::new(config?) }) })
}

impl Secrets {
    pub(super) fn shared(&self) -> &Client {
        &self.inner
    }

    #[expect(clippy::unnecessary_wraps, reason = "as that of the module, whose configuration can fail")]
    pub(super) fn client(&self) -> Result<Client> {
        Ok(self.inner.clone())
    }
}

#[napi]
impl Secrets {
    /// Reads one secret. Resolves with null only where it is not set.
    #[napi(ts_args_type = "businessId: string, name: SecretName", ts_return_type = "Promise<string | null>")]
    pub fn get<'env>(&self, env: &'env Env, business_id: Unknown, name: Unknown) -> Promise<'env> {
        calls::get(env, self.client(), &business_id, &name)
    }

    /// Reads several secrets of one business, in one round trip and one snapshot.
    ///
    /// Rejects with `DECRYPT_FAILED`, which names them, if any of them cannot be decrypted: read the others by themselves.
    #[napi(
        ts_generic_types = "N extends SecretName",
        ts_args_type = "businessId: string, names: readonly N[]",
        ts_return_type = "Promise<Record<N, string | null>>"
    )]
    pub fn get_many<'env>(&self, env: &'env Env, business_id: Unknown, names: Unknown) -> Promise<'env> {
        calls::get_many(env, self.client(), &business_id, &names)
    }

    /// Writes one secret and resolves with its version. Null or a blank value clears it; white space around it is trimmed.
    ///
    /// Once trimmed, a value has at most 65,536 bytes of UTF-8. Writing the value that is there changes nothing.
    #[napi(
        ts_args_type = "businessId: string, name: SecretName, value: string | null, options?: SetOptions",
        ts_return_type = "Promise<number>"
    )]
    pub fn set<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        name: Unknown,
        value: Unknown,
        options: Unknown,
    ) -> Promise<'env> {
        calls::set(env, self.client(), &business_id, &name, &value, &options)
    }

    /// Writes several secrets of one business, all or none, and resolves with their versions.
    #[napi(
        ts_generic_types = "N extends SecretName",
        ts_args_type = "businessId: string, values: Readonly<Record<N, string | null>>, options?: SetManyOptions",
        ts_return_type = "Promise<Record<N, number>>"
    )]
    pub fn set_many<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        values: Unknown,
        options: Unknown,
    ) -> Promise<'env> {
        calls::set_many(env, self.client(), &business_id, &values, &options)
    }

    /// Clears one secret and resolves with its version.
    #[napi(
        ts_args_type = "businessId: string, name: SecretName, options?: SetOptions",
        ts_return_type = "Promise<number>"
    )]
    pub fn delete<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        name: Unknown,
        options: Unknown,
    ) -> Promise<'env> {
        calls::delete(env, self.client(), &business_id, &name, &options)
    }

    /// Lists what may be shown of all twelve secrets: never a value.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<ListedSecret[]>")]
    pub fn list<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::list(env, self.client(), &business_id)
    }

    /// Calls back with every change that matches the filter, whoever makes it: `{ kind: 'changed', businessId, names,
    /// versions }`, or `{ kind: 'resync' }` when anything may have changed.
    ///
    /// Events come one at a time, the next one after the promise that the callback returned; what changes meanwhile is
    /// merged. What it throws becomes a process warning. A watcher never keeps the process alive, and hears nothing
    /// where `stats().listener.state` is `unavailable`. Throws where an argument is wrong.
    #[napi(
        ts_args_type = "filter: WatchFilter | null | undefined, callback: (event: ChangedEvent | ResyncEvent) => unknown"
    )]
    pub fn watch(&self, env: &Env, filter: Unknown, callback: Unknown) -> napi::Result<Watcher> {
        watch::start(env, self.client(), &filter, &callback)
    }

    /// What this client has done so far, and what it is doing. Cheap enough to poll.
    #[napi]
    pub fn stats(&self) -> Stats {
        self.inner.stats().into()
    }

    /// Asks the database for a sign of life.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn ping<'env>(&self, env: &'env Env) -> Promise<'env> {
        calls::ping(env, self.client())
    }

    /// Lets what is under way end, by its deadline, and closes the connections. The cache is wiped, watchers end, and
    /// later calls reject with `CLOSED`.
    ///
    /// A process need not call it to exit.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn close<'env>(&self, env: &'env Env) -> Promise<'env> {
        calls::close(env, self.client())
    }
}
