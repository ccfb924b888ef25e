//! A client, as lib/native.js uses it.

use std::cell::RefCell;
use std::rc::Rc;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::bulk::Reader;
use super::thread::Thread;
use super::{cached, calls, js, options, runtime, watch};
use crate::client::Client;
use crate::error::Result;
use crate::name::SecretName;

/// A client's native side.
#[napi]
pub struct NativeClient {
    client: Client,
    reader: Rc<RefCell<Reader>>,
}

/// Makes a client and tells `opened(null, client)`, or `(code, message)` where the options cannot work. Connects nothing.
///
/// `slots` and `settle` belong to the client's batches: see `NativeClient.read`.
#[napi(catch_unwind)]
pub fn open(
    env: &Env,
    options: Unknown,
    slots: Unknown,
    settle: Unknown,
    failed: Unknown,
) -> napi::Result<Option<NativeClient>> {
    let client = options::config(&options).and_then(|config| {
        let _runtime = runtime::handle()?.enter();
        Ok(Client::new(config))
    });
    match client {
        Ok(client) => {
            let reader = Reader::new(env, &client, &settle, &slots)?;
            Ok(Some(NativeClient { client, reader }))
        }
        Err(error) => {
            Thread::run(env, &failed, Err(error))?;
            Ok(None)
        }
    }
}

/// The number of a name, by which `read` and the cached reader know it; undefined for what cannot be a name.
#[napi(catch_unwind)]
pub fn name_number(name: Unknown) -> Option<u32> {
    js::short(&name, |name| name.parse::<SecretName>().ok()).map(|name| name.number().into())
}

#[napi]
impl NativeClient {
    /// `(businessId, number of the name) => value | null | undefined`; null for a client without a cache.
    #[napi(catch_unwind)]
    pub fn cached_reader<'env>(&self, env: &'env Env) -> napi::Result<Option<Unknown<'env>>> {
        self.client.is_caching().then(|| cached::reader(env, &self.client)).transpose()
    }

    /// Begins the reads of one turn: `ids` are `count` ids in a row, `names` the numbers of as many names. What is
    /// answered together is told to `settle(token, ...values)`, after `slots` has got the places of the values; the
    /// highest bit marks a value that is an error, `CODE message`. False, where one is no id or no name: nothing is begun.
    #[napi(catch_unwind)]
    pub fn read(&self, env: &Env, token: u32, ids: Unknown, names: Unknown, count: u32) -> bool {
        self.reader.borrow_mut().read(env, token, &ids, &names, count)
    }

    /// Everything else: `call(op, arguments, callback)`. Which operation takes what stands in lib/native.js.
    #[allow(clippy::needless_pass_by_value, reason = "napi converts arguments into owned values")]
    #[napi(catch_unwind)]
    pub fn call(&self, env: &Env, op: String, arguments: Unknown, callback: Unknown) -> napi::Result<()> {
        Thread::run(env, &callback, calls::call(&self.client, &op, &arguments))
    }

    /// Tells `callback(json)` of changes of that business and these names, or of all, until the watcher is closed.
    #[napi(catch_unwind)]
    pub fn watch(
        &self,
        env: &Env,
        business: Unknown,
        names: Unknown,
        callback: Unknown,
        failed: Unknown,
    ) -> napi::Result<Option<watch::NativeWatcher>> {
        let started: Result<_> = watch::start(env, &self.client, &business, &names, &callback);
        match started {
            Ok(watcher) => Ok(Some(watcher)),
            Err(error) => {
                Thread::run(env, &failed, Err(error))?;
                Ok(None)
            }
        }
    }

    /// What the client has done so far, as JSON.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        serde_json::to_string(&self.client.stats()).unwrap_or_default()
    }
}
