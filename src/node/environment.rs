//! What belongs to one JavaScript thread: the main one and each worker have their own.

use napi::Env;

use super::settle::Settler;
use crate::client::Client;

/// Lives in the instance data of the thread, and ends with it.
pub(super) struct Environment {
    pub(super) settler: Settler,
    /// Made on first use of a function of the module.
    pub(super) shared: Option<Client>,
}

impl Environment {
    pub(super) fn of(env: &Env) -> napi::Result<&'static mut Self> {
        if let Some(environment) = env.get_instance_data::<Self>()? {
            return Ok(environment);
        }
        let environment = Self { settler: Settler::new(env)?, shared: None };
        env.set_instance_data(environment, (), |_| ())?;
        let missing = || napi::Error::from_reason("the instance data of this thread is gone");
        env.get_instance_data::<Self>()?.ok_or_else(missing)
    }
}
