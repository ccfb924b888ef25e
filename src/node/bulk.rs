//! The gets of one turn: lib/batch.js hands them over in one call, and what is answered together comes back in one call.

#![allow(unsafe_code, reason = "names and slots pass through typed arrays, whose memory napi does not share")]

use std::cell::RefCell;
use std::rc::Rc;
use std::slice;
use std::sync::{Arc, Weak};

use napi::bindgen_prelude::Unknown;
use napi::{Env, JsValue, check_status, sys};
use uuid::Uuid;

use super::js::{self, Reference};
use super::outbox::{Message, Outbox};
use super::runtime;
use super::thread::Thread;
use crate::client::Client;
use crate::error::Result;
use crate::name::SecretName;
use crate::pool::bulk::{Bulk, BulkSink};
use crate::secret::Reading;

/// The characters of an id.
const ID: usize = 36;

/// The most values of one call of `settle`: they lie on the thread's stack, which in a worker may be small.
const MOST_ARGUMENTS: usize = 1024;

/// Marks a slot whose value is `CODE message`, why it failed.
const FAILED: u32 = 1 << 31;

/// The reading side of a client. Used on its JavaScript thread only.
pub(super) struct Reader {
    client: Client,
    sink: Arc<Sink>,
    /// `settle(token, ...values)` of lib/batch.js. Kept alive only while slots are pending, so that a client nobody
    /// uses any more is collected.
    settle: Reference,
    /// The `Uint32Array` that `settle` finds the slots in.
    slots: Reference,
    pending: usize,
    /// Reused by every call.
    ids: Vec<u8>,
}

/// Where the bulks of one reader go.
struct Sink {
    outbox: Weak<Outbox>,
    reader: u32,
}

impl BulkSink for Sink {
    fn ready(self: Arc<Self>, bulk: Arc<Bulk>) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.push(Message::Bulk { reader: self.reader, bulk });
        }
    }
}

impl Reader {
    pub(super) fn new(
        env: &Env,
        client: &Client,
        settle: &Unknown,
        slots: &Unknown,
    ) -> napi::Result<Rc<RefCell<Self>>> {
        let (settle, slots) =
            (Reference::weak(env.raw(), settle.raw())?, Reference::weak(env.raw(), slots.raw())?);
        let thread = Thread::of(env)?;
        let (outbox, client) = (Arc::downgrade(thread.outbox()), client.clone());
        Ok(thread.add_reader(|reader| {
            let sink = Arc::new(Sink { outbox, reader });
            Self { client, sink, settle, slots, pending: 0, ids: Vec::new() }
        }))
    }

    /// Begins `count` reads: `ids` is so many ids in a row, `names` the numbers of so many names. Says false, and begins
    /// none, where one of them is no id or no name.
    pub(super) fn read(&mut self, env: &Env, token: u32, ids: &Unknown, names: &Unknown, count: u32) -> bool {
        let count = count as usize;
        let Ok(handle) = runtime::handle() else { return false };
        let Some(reads) = self.reads(env.raw(), ids, names, count) else { return false };
        if self.pending == 0 {
            self.settle.hold(env.raw());
            self.slots.hold(env.raw());
        }
        self.pending += count;
        if let Some(outbox) = self.sink.outbox.upgrade() {
            outbox.begin(env, count);
        }
        let sink: Arc<dyn BulkSink> = Arc::clone(&self.sink) as _;
        let _runtime = handle.enter();
        self.client.read_bulk(token, reads, Arc::downgrade(&sink));
        true
    }

    fn reads(
        &mut self,
        env: sys::napi_env,
        ids: &Unknown,
        names: &Unknown,
        count: usize,
    ) -> Option<Vec<(Uuid, SecretName)>> {
        let (names, length) = js::typed_array::<u16>(env, names.raw(), sys::TypedarrayType::uint16_array)?;
        if count == 0 || count > length {
            return None;
        }
        // SAFETY: the array has that many elements, and nothing runs meanwhile that could detach it.
        let names = unsafe { slice::from_raw_parts(names, count) };
        let wanted = count * ID;
        // Room for more: a longer text must not look like one that fits. As UTF-8, in which any other character than
        // those of an id is either longer or none of them.
        self.ids.resize(wanted + 8, 0);
        let mut written = 0;
        // SAFETY: no more is written than the buffer holds.
        check_status!(unsafe {
            let buffer = self.ids.as_mut_ptr().cast();
            sys::napi_get_value_string_utf8(env, ids.raw(), buffer, self.ids.len(), &raw mut written)
        })
        .ok()?;
        if written != wanted {
            return None;
        }
        let read = |(id, name): (&[u8], &u16)| {
            Some((Uuid::try_parse_ascii(id).ok()?, SecretName::from_number(*name)?))
        };
        self.ids[..wanted].chunks_exact(ID).zip(names).map(read).collect()
    }

    /// Tells `settle` what has been answered. Returns how many slots that were.
    pub(super) fn tell(reader: &RefCell<Self>, env: sys::napi_env, bulk: &Bulk) -> usize {
        let answers = bulk.take();
        if answers.is_empty() {
            return 0;
        }
        for answers in answers.chunks(MOST_ARGUMENTS) {
            let call = {
                let mut reader = reader.borrow_mut();
                let call = reader.arguments(env, bulk.token, answers);
                reader.pending = reader.pending.saturating_sub(answers.len());
                if reader.pending == 0 {
                    reader.settle.let_go(env);
                    reader.slots.let_go(env);
                }
                call
            };
            // Not borrowed here: what is settled may read again.
            if let Some((settle, arguments)) = call {
                js::call(env, settle, &arguments);
            }
        }
        answers.len()
    }

    /// The token and the values. As arguments: an array of theirs would take a call into the engine for each.
    fn arguments(
        &self,
        env: sys::napi_env,
        token: u32,
        answers: &[(u32, Result<Reading>)],
    ) -> Option<(sys::napi_value, Vec<sys::napi_value>)> {
        let settle = self.settle.get(env)?;
        let slots = self.slots.get(env)?;
        let (slots, length) = js::typed_array::<u32>(env, slots, sys::TypedarrayType::uint32_array)?;
        if answers.len() > length {
            return None;
        }
        // SAFETY: the array has that many elements, and nothing runs meanwhile that could detach it.
        let slots = unsafe { slice::from_raw_parts_mut(slots, answers.len()) };
        let mut arguments = Vec::with_capacity(1 + answers.len());
        arguments.push(js::new_number(env, token.into()).ok()?);
        for ((slot, answer), place) in answers.iter().zip(slots) {
            let value = match answer {
                Ok(reading) => {
                    *place = *slot;
                    js::secret(env, reading.value.as_ref())
                }
                Err(error) => {
                    *place = *slot | FAILED;
                    js::new_string(env, &format!("{} {error}", error.code().as_str()))
                }
            };
            arguments.push(value.ok()?);
        }
        Some((settle, arguments))
    }
}
