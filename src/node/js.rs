//! JavaScript values, looked at by hand: napi's own conversions throw instead of rejecting, and repair what is not
//! Unicode instead of refusing it.

#![allow(unsafe_code, reason = "each function is one Node-API call that napi does not offer in this form")]

use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, ToNapiValue, Unknown};
use napi::{Env, JsError, JsValue, ValueType, sys};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Code, Error, Result};

/// The `Error` of an error, with its `code`.
pub(super) fn error<'env>(env: &'env Env, error: &Error) -> Unknown<'env> {
    JsError::from(napi::Error::new(Status(error.code()), error.to_string())).into_unknown(*env)
}

/// Makes napi put our codes where its own would be.
struct Status(Code);

impl AsRef<str> for Status {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

pub(super) fn kind(value: &Unknown) -> ValueType {
    value.get_type().unwrap_or(ValueType::Unknown)
}

pub(super) fn is_absent(value: &Unknown) -> bool {
    matches!(kind(value), ValueType::Undefined | ValueType::Null)
}

/// What a string is, beyond its length.
pub(super) enum Text {
    NotAString,
    TooLong,
    /// Half a surrogate pair: it has no UTF-8.
    NotUnicode,
    Plain(Zeroizing<String>),
}

/// Reads a string of at most `most` UTF-16 units. The copies that it makes are wiped.
pub(super) fn text(value: &Unknown, most: usize) -> Text {
    let (env, raw) = (value.value().env, value.raw());
    let mut length = 0;
    // SAFETY: env and value belong together, as napi handed them in; without a buffer only the length is written.
    let status = unsafe { sys::napi_get_value_string_utf16(env, raw, ptr::null_mut(), 0, &raw mut length) };
    if status != sys::Status::napi_ok {
        return Text::NotAString;
    }
    if length > most {
        return Text::TooLong;
    }
    let mut units = Zeroizing::new(vec![0_u16; length + 1]);
    // SAFETY: likewise; the buffer holds `length` units and the terminating zero.
    unsafe { sys::napi_get_value_string_utf16(env, raw, units.as_mut_ptr(), units.len(), &raw mut length) };
    // Three bytes a unit at the most: it never grows, which would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(length * 3));
    for unit in char::decode_utf16(units.iter().copied().take(length)) {
        let Ok(unit) = unit else { return Text::NotUnicode };
        text.push(unit);
    }
    Text::Plain(text)
}

/// Reads a string that has to be short to be of use, such as an id or a name, without allocating. Where `parse` makes
/// nothing of it nothing is left of it either: it may be something else.
pub(super) fn short<T>(value: &Unknown, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let (env, raw) = (value.value().env, value.raw());
    let (mut buffer, mut length) = ([0_u8; 44], 0);
    // SAFETY: env and value belong together, and no more is written than the buffer holds.
    let status = unsafe {
        sys::napi_get_value_string_utf8(env, raw, buffer.as_mut_ptr().cast(), buffer.len(), &raw mut length)
    };
    // One that fills the buffer may have been cut.
    let is_whole = status == sys::Status::napi_ok && length + 4 < buffer.len();
    let parsed = is_whole.then(|| str::from_utf8(&buffer[..length]).ok()).flatten().and_then(parse);
    if parsed.is_none() {
        buffer.zeroize();
    }
    parsed
}

pub(super) fn boolean(value: &Unknown) -> Option<bool> {
    (kind(value) == ValueType::Boolean).then(|| {
        // SAFETY: its type was just asked for.
        unsafe { value.cast::<bool>() }.unwrap_or_default()
    })
}

pub(super) fn number(value: &Unknown) -> Option<f64> {
    (kind(value) == ValueType::Number).then(|| {
        // SAFETY: its type was just asked for.
        unsafe { value.cast::<f64>() }.unwrap_or(f64::NAN)
    })
}

/// The milliseconds of a Date; NaN where it is an invalid one.
pub(super) fn date(value: &Unknown) -> Option<f64> {
    let mut ms = f64::NAN;
    // SAFETY: env and value belong together; the call refuses whatever is not a Date.
    let status = unsafe { sys::napi_get_date_value(value.value().env, value.raw(), &raw mut ms) };
    (status == sys::Status::napi_ok).then_some(ms)
}

pub(super) fn is_array(value: &Unknown) -> bool {
    let mut is_array = false;
    // SAFETY: env and value belong together.
    unsafe { sys::napi_is_array(value.value().env, value.raw(), &raw mut is_array) };
    is_array
}

/// A property, which may be a getter of the caller's.
pub(super) fn property<'env>(object: &Unknown<'env>, name: &str) -> Result<Unknown<'env>> {
    let env = object.value().env;
    let (mut key, mut found) = (ptr::null_mut(), ptr::null_mut());
    let length = isize::try_from(name.len()).unwrap_or(isize::MAX);
    // SAFETY: the name is valid for its length, and env and value belong together.
    let status = unsafe {
        sys::napi_create_string_utf8(env, name.as_ptr().cast(), length, &raw mut key);
        sys::napi_get_property(env, object.raw(), key, &raw mut found)
    };
    read(env, status, found).ok_or_else(|| Error::InvalidArgument(format!("{name} cannot be read")))
}

/// The elements of an array.
pub(super) fn elements<'env>(array: &Unknown<'env>, most: u32) -> Result<Vec<Unknown<'env>>> {
    let env = array.value().env;
    let mut length = 0;
    // SAFETY: env and value belong together.
    unsafe { sys::napi_get_array_length(env, array.raw(), &raw mut length) };
    if length > most {
        return Err(Error::InvalidArgument(format!("the array has more than {most} elements")));
    }
    let element = |at| {
        let mut found = ptr::null_mut();
        // SAFETY: likewise.
        let status = unsafe { sys::napi_get_element(env, array.raw(), at, &raw mut found) };
        read(env, status, found).ok_or_else(|| Error::InvalidArgument(format!("element {at} cannot be read")))
    };
    (0..length).map(element).collect()
}

/// The names of the enumerable properties of the object itself.
pub(super) fn keys(object: &Unknown) -> Result<Vec<Zeroizing<String>>> {
    let env = object.value().env;
    let mut keys = ptr::null_mut();
    // SAFETY: env and value belong together.
    let status = unsafe {
        sys::napi_get_all_property_names(
            env,
            object.raw(),
            sys::KeyCollectionMode::own_only,
            sys::KeyFilter::enumerable | sys::KeyFilter::skip_symbols,
            sys::KeyConversion::numbers_to_strings,
            &raw mut keys,
        )
    };
    let refused = || Error::InvalidArgument("the properties of the object cannot be listed".into());
    let keys = read(env, status, keys).ok_or_else(refused)?;
    let key = |key: Unknown| match text(&key, 1000) {
        Text::Plain(name) => name,
        // No property that is known is called that; the caller says so.
        _ => Zeroizing::new(String::from("?")),
    };
    Ok(elements(&keys, 1000)?.into_iter().map(key).collect())
}

/// What a call into the caller's object gave. A getter that threw leaves its exception behind: it would be thrown
/// instead of the rejection.
fn read<'env>(env: sys::napi_env, status: sys::napi_status, found: sys::napi_value) -> Option<Unknown<'env>> {
    if status != sys::Status::napi_ok {
        clear_exception(env);
        return None;
    }
    // SAFETY: `found` was made in `env` just now.
    unsafe { Unknown::from_napi_value(env, found) }.ok()
}

/// Drops what was thrown last.
pub(super) fn clear_exception(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: `env` is that of the current thread.
    unsafe { sys::napi_get_and_clear_last_exception(env, &raw mut exception) };
}

/// A secret, as a string or null. Keys are ASCII as a rule, which V8 takes over without decoding it.
pub(super) fn secret(env: sys::napi_env, value: Option<&SecretString>) -> napi::Result<sys::napi_value> {
    let mut made = ptr::null_mut();
    let Some(text) = value.map(ExposeSecret::expose_secret) else {
        // SAFETY: `env` is that of the current thread.
        napi::check_status!(unsafe { sys::napi_get_null(env, &raw mut made) })?;
        return Ok(made);
    };
    let length = isize::try_from(text.len()).unwrap_or(isize::MAX);
    // SAFETY: likewise, and the text is valid for its length. What is ASCII is Latin-1 as well.
    napi::check_status!(unsafe {
        if text.is_ascii() {
            sys::napi_create_string_latin1(env, text.as_ptr().cast(), length, &raw mut made)
        } else {
            sys::napi_create_string_utf8(env, text.as_ptr().cast(), length, &raw mut made)
        }
    })?;
    Ok(made)
}

/// Milliseconds since 1970, as a Date.
pub(super) fn new_date(env: sys::napi_env, ms: i64) -> napi::Result<sys::napi_value> {
    let mut date = ptr::null_mut();
    #[expect(clippy::cast_precision_loss, reason = "a Date holds 8.64e15 ms, less than 2^53")]
    // SAFETY: `env` is that of the current thread.
    napi::check_status!(unsafe { sys::napi_create_date(env, ms as f64, &raw mut date) })?;
    Ok(date)
}

/// A property of an object under construction.
pub(super) fn set_property<T: ToNapiValue>(object: &Unknown, name: &str, value: T) -> napi::Result<()> {
    let env = object.value().env;
    let length = isize::try_from(name.len()).unwrap_or(isize::MAX);
    let mut key = ptr::null_mut();
    // SAFETY: the name is valid for its length, and env and value belong together.
    napi::check_status!(unsafe {
        let value = T::to_napi_value(env, value)?;
        sys::napi_create_string_utf8(env, name.as_ptr().cast(), length, &raw mut key);
        sys::napi_set_property(env, object.raw(), key, value)
    })
}

pub(super) fn new_object<'env>(env: sys::napi_env) -> napi::Result<Unknown<'env>> {
    let mut object = ptr::null_mut();
    // SAFETY: `env` is that of the current thread.
    napi::check_status!(unsafe { sys::napi_create_object(env, &raw mut object) })?;
    // SAFETY: `object` was made in `env` just now.
    unsafe { Unknown::from_napi_value(env, object) }
}
