//! What comes back, as JavaScript values. A value is copied once, from the wiped memory into the JavaScript string.

#![allow(unsafe_code, reason = "napi declares the conversion to be implemented as unsafe")]

use std::sync::Arc;

use napi::bindgen_prelude::ToNapiValue;
use napi::{JsValue, sys};
use secrecy::SecretString;

use super::js;
use crate::client;
use crate::store;
use crate::timestamp::Timestamp;

/// A secret, as a string.
pub struct Plain(pub(super) SecretString);

impl ToNapiValue for Plain {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        js::secret(env, Some(&value.0))
    }
}

/// A secret that others hold as well, as a string.
pub struct Shared(pub(super) Arc<SecretString>);

impl ToNapiValue for Shared {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        js::secret(env, Some(&value.0))
    }
}

/// A point in time, as a Date.
pub struct Date(pub(super) Timestamp);

impl ToNapiValue for Date {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        js::new_date(env, value.0.0)
    }
}

/// `{ name: value | null }`
pub struct Values(pub(super) client::Values);

impl ToNapiValue for Values {
    unsafe fn to_napi_value(env: sys::napi_env, values: Self) -> napi::Result<sys::napi_value> {
        let object = js::new_object(env)?;
        for (name, value) in values.0 {
            js::set_property(&object, name.as_str(), value.map(Plain))?;
        }
        Ok(object.raw())
    }
}

/// `{ name: version }`
pub struct Versions(pub(super) store::Versions);

impl ToNapiValue for Versions {
    unsafe fn to_napi_value(env: sys::napi_env, versions: Self) -> napi::Result<sys::napi_value> {
        let object = js::new_object(env)?;
        for (name, version) in versions.0 {
            js::set_property(&object, name.as_str(), version)?;
        }
        Ok(object.raw())
    }
}
