//! What a call comes to, as a JavaScript value.

use napi::sys;
use secrecy::SecretString;

use super::js;

/// The value of a call that succeeded.
pub(super) enum Answer {
    Nothing,
    Boolean(bool),
    /// A whole number of at most 2^53.
    Number(i64),
    /// JSON that `lib` parses in its own realm. Never holds a value of a secret.
    Text(String),
    /// Values, in the order in which they were asked for.
    Values(Vec<Option<SecretString>>),
}

impl Answer {
    /// Copies a secret once, from memory that is wiped into the JavaScript string.
    pub(super) fn into_js(self, env: sys::napi_env) -> napi::Result<sys::napi_value> {
        match self {
            Self::Nothing => js::undefined(env),
            Self::Boolean(value) => js::new_boolean(env, value),
            Self::Number(value) => js::new_number(env, value),
            Self::Text(value) => js::new_string(env, &value),
            Self::Values(values) => {
                js::new_array(env, values.iter().map(|value| js::secret(env, value.as_ref())))
            }
        }
    }
}
