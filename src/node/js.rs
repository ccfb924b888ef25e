//! JavaScript values, looked at and made by hand: napi's own conversions throw, and repair what is not Unicode instead of
//! refusing it.

#![allow(unsafe_code, reason = "each function is one Node-API call that napi does not offer in this form")]

use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, Unknown};
use napi::{JsValue, ValueType, check_status, sys};
use secrecy::{ExposeSecret, SecretString};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

pub(super) fn kind(value: &Unknown) -> ValueType {
    value.get_type().unwrap_or(ValueType::Unknown)
}

pub(super) fn is_absent(value: &Unknown) -> bool {
    matches!(kind(value), ValueType::Undefined | ValueType::Null)
}

/// `lib` has checked its arguments; what comes here otherwise is a mistake of its own.
pub(super) fn unexpected(what: &str) -> Error {
    Error::InvalidArgument(format!("{what} is not what lib/native.js passes"))
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

/// A string that holds no secret.
pub(super) fn plain(value: &Unknown) -> Option<String> {
    match text(value, 1 << 20) {
        Text::Plain(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Reads a string that has to be short to be of use, such as an id or a name, without allocating. Where `parse` makes
/// nothing of it nothing is left of it either: it may be something else.
pub(super) fn short<T>(value: &Unknown, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let (env, raw) = (value.value().env, value.raw());
    let (mut buffer, mut length) = ([0_u8; 56], 0);
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

/// A whole number from 0 to 2^53.
pub(super) fn whole(value: &Unknown) -> Option<i64> {
    if kind(value) != ValueType::Number {
        return None;
    }
    // SAFETY: its type was just asked for.
    let number = unsafe { value.cast::<f64>() }.unwrap_or(f64::NAN);
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 2^53")]
    (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as i64)
}

/// A property of an object that `lib` made; undefined where there is none.
pub(super) fn property<'env>(object: &Unknown<'env>, name: &str) -> Result<Unknown<'env>> {
    let env = object.value().env;
    let (mut key, mut found) = (ptr::null_mut(), ptr::null_mut());
    let length = isize::try_from(name.len()).unwrap_or(isize::MAX);
    // SAFETY: the name is valid for its length, and env and value belong together.
    let status = unsafe {
        sys::napi_create_string_utf8(env, name.as_ptr().cast(), length, &raw mut key);
        sys::napi_get_property(env, object.raw(), key, &raw mut found)
    };
    read(env, status, found).ok_or_else(|| unexpected(name))
}

/// The elements of an array.
pub(super) fn elements<'env>(array: &Unknown<'env>) -> Result<Vec<Unknown<'env>>> {
    let env = array.value().env;
    let mut length = 0;
    // SAFETY: env and value belong together; what is no array is refused.
    let status = unsafe { sys::napi_get_array_length(env, array.raw(), &raw mut length) };
    if status != sys::Status::napi_ok {
        return Err(unexpected("an array"));
    }
    let element = |at| {
        let mut found = ptr::null_mut();
        // SAFETY: likewise.
        let status = unsafe { sys::napi_get_element(env, array.raw(), at, &raw mut found) };
        read(env, status, found).ok_or_else(|| unexpected("an element"))
    };
    (0..length).map(element).collect()
}

/// What a call into an object gave. A getter that threw leaves its exception behind: it would be thrown by the addon.
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

/// The memory of a typed array, its length in elements, and its kind.
pub(super) fn typed_array<T>(
    env: sys::napi_env,
    value: sys::napi_value,
    wanted: sys::napi_typedarray_type,
) -> Option<(*mut T, usize)> {
    let (mut kind, mut length, mut memory) = (0, 0, ptr::null_mut());
    // SAFETY: env and value belong together; what is no typed array is refused.
    check_status!(unsafe {
        sys::napi_get_typedarray_info(
            env,
            value,
            &raw mut kind,
            &raw mut length,
            &raw mut memory,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    })
    .ok()?;
    (kind == wanted && !memory.is_null()).then(|| (memory.cast(), length))
}

/// A secret, as a string or null. Keys are ASCII as a rule, which V8 takes over without decoding it.
pub(super) fn secret(env: sys::napi_env, value: Option<&SecretString>) -> napi::Result<sys::napi_value> {
    if let Some(value) = value {
        return new_string(env, value.expose_secret());
    }
    null(env)
}

/// What a Node-API call makes.
fn made(make: impl FnOnce(*mut sys::napi_value) -> sys::napi_status) -> napi::Result<sys::napi_value> {
    let mut value = ptr::null_mut();
    check_status!(make(&raw mut value))?;
    Ok(value)
}

pub(super) fn new_string(env: sys::napi_env, text: &str) -> napi::Result<sys::napi_value> {
    let (start, length) = (text.as_ptr().cast(), isize::try_from(text.len()).unwrap_or(isize::MAX));
    // SAFETY: `env` is that of the current thread, and the text is valid for its length. What is ASCII is Latin-1 too.
    made(|value| unsafe {
        if text.is_ascii() {
            sys::napi_create_string_latin1(env, start, length, value)
        } else {
            sys::napi_create_string_utf8(env, start, length, value)
        }
    })
}

pub(super) fn null(env: sys::napi_env) -> napi::Result<sys::napi_value> {
    // SAFETY: `env` is that of the current thread.
    made(|value| unsafe { sys::napi_get_null(env, value) })
}

pub(super) fn undefined(env: sys::napi_env) -> napi::Result<sys::napi_value> {
    // SAFETY: `env` is that of the current thread.
    made(|value| unsafe { sys::napi_get_undefined(env, value) })
}

pub(super) fn new_boolean(env: sys::napi_env, boolean: bool) -> napi::Result<sys::napi_value> {
    // SAFETY: `env` is that of the current thread.
    made(|value| unsafe { sys::napi_get_boolean(env, boolean, value) })
}

pub(super) fn new_number(env: sys::napi_env, number: i64) -> napi::Result<sys::napi_value> {
    // SAFETY: `env` is that of the current thread.
    made(|value| unsafe { sys::napi_create_int64(env, number, value) })
}

pub(super) fn new_array(
    env: sys::napi_env,
    elements: impl ExactSizeIterator<Item = napi::Result<sys::napi_value>>,
) -> napi::Result<sys::napi_value> {
    let mut array = ptr::null_mut();
    // SAFETY: `env` is that of the current thread, and every element is made in it.
    unsafe {
        check_status!(sys::napi_create_array_with_length(env, elements.len(), &raw mut array))?;
        for (at, element) in (0..).zip(elements) {
            check_status!(sys::napi_set_element(env, array, at, element?))?;
        }
    }
    Ok(array)
}

/// Keeps a JavaScript value alive, or only finds it again while something else does.
///
/// It belongs to its thread: whoever drops it elsewhere, or after the thread, leaves it to the end of the thread's
/// environment, which frees every reference.
pub(super) struct Reference(sys::napi_ref);

// SAFETY: the pointer is an opaque handle, used only by methods that take the `napi_env` of its thread.
unsafe impl Send for Reference {}
// SAFETY: likewise.
unsafe impl Sync for Reference {}

impl Reference {
    pub(super) fn strong(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        Self::new(env, value, 1)
    }

    pub(super) fn weak(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        Self::new(env, value, 0)
    }

    fn new(env: sys::napi_env, value: sys::napi_value, count: u32) -> napi::Result<Self> {
        let mut reference = ptr::null_mut();
        // SAFETY: env and value belong together.
        check_status!(unsafe { sys::napi_create_reference(env, value, count, &raw mut reference) })?;
        Ok(Self(reference))
    }

    /// The value, where it is still there.
    pub(super) fn get(&self, env: sys::napi_env) -> Option<sys::napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: the reference belongs to `env`.
        check_status!(unsafe { sys::napi_get_reference_value(env, self.0, &raw mut value) }).ok()?;
        (!value.is_null()).then_some(value)
    }

    /// From now on the value is kept alive.
    pub(super) fn hold(&self, env: sys::napi_env) {
        // SAFETY: likewise.
        unsafe { sys::napi_reference_ref(env, self.0, ptr::null_mut()) };
    }

    /// Undoes `hold`.
    pub(super) fn let_go(&self, env: sys::napi_env) {
        // SAFETY: likewise.
        unsafe { sys::napi_reference_unref(env, self.0, ptr::null_mut()) };
    }

    pub(super) fn delete(self, env: sys::napi_env) {
        // SAFETY: likewise; it is consumed.
        unsafe { sys::napi_delete_reference(env, self.0) };
    }
}

/// Calls a function of `lib`'s, which handles its own errors.
pub(super) fn call(env: sys::napi_env, function: sys::napi_value, arguments: &[sys::napi_value]) {
    let (mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: all of them belong to `env`, that of the current thread.
    let status = unsafe {
        sys::napi_get_undefined(env, &raw mut receiver);
        sys::napi_call_function(env, receiver, function, arguments.len(), arguments.as_ptr(), &raw mut result)
    };
    if status != sys::Status::napi_ok {
        clear_exception(env);
    }
}
