//! What a client's cache knows, as a plain function that lib/native.js asks before it batches a get: looking the client
//! up behind its object would cost as much as everything else.

#![allow(
    unsafe_code,
    reason = "napi's own functions convert every argument, at more than the cost of the lookup"
)]

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::Unknown;
use napi::{Env, check_status, sys};

use super::js;
use crate::client::Client;
use crate::name::SecretName;
use crate::value;

/// `(businessId, number of the name) => value | null | undefined`: undefined wherever the database has to be asked, whatever
/// the reason.
pub(super) fn reader<'env>(env: &'env Env, client: &Client) -> napi::Result<Unknown<'env>> {
    let data = Box::into_raw(Box::new(client.clone())).cast::<c_void>();
    let mut function = ptr::null_mut();
    // SAFETY: `env` is that of the current thread; `read` takes the data for what it is, and `release` frees it when the
    // function is collected, or with its thread.
    unsafe {
        let made = check_status!(sys::napi_create_function(
            env.raw(),
            ptr::null(),
            0,
            Some(read),
            data,
            &raw mut function
        ))
        .and_then(|()| {
            let (hint, reference) = (ptr::null_mut(), ptr::null_mut());
            check_status!(sys::napi_add_finalizer(env.raw(), function, data, Some(release), hint, reference))
        });
        if let Err(error) = made {
            drop(Box::from_raw(data.cast::<Client>()));
            return Err(error);
        }
        Ok(Unknown::from_raw_unchecked(env.raw(), function))
    }
}

unsafe extern "C" fn read(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let (mut count, mut arguments, mut data) = (2, [ptr::null_mut(); 2], ptr::null_mut());
    // SAFETY: Node passes what belongs together; missing arguments are filled with undefined.
    unsafe {
        let this = ptr::null_mut();
        sys::napi_get_cb_info(env, info, &raw mut count, arguments.as_mut_ptr(), this, &raw mut data);
    }
    // SAFETY: `reader` put it there, and the function that is running keeps it.
    let Some(client) = (unsafe { data.cast::<Client>().as_ref() }) else { return ptr::null_mut() };
    catch_unwind(AssertUnwindSafe(|| {
        let [business, number] = arguments;
        let mut at = 0;
        // SAFETY: both belong to `env`.
        let business = unsafe {
            check_status!(sys::napi_get_value_uint32(env, number, &raw mut at)).ok()?;
            js::short(&Unknown::from_raw_unchecked(env, business), |id| value::business_id(id).ok())?
        };
        let name = SecretName::from_number(u16::try_from(at).ok()?)?;
        js::secret(env, client.cached(business, name)?.as_deref()).ok()
    }))
    .ok()
    .flatten()
    .unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn release(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: made by `reader`, and released once.
    drop(unsafe { Box::from_raw(data.cast::<Client>()) });
}
