//! Migrating at deploy time: the migration role's calls.

use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::admin_types::{DoctorReport, MigrateResult, Status, Verification};
use super::arguments::{invalid, object};
use super::js;
use super::options::{self, text, whole};
use super::progress::Reporter;
use super::settle::{Promise, settle};
use crate::admin::{ADMIN_URL_VARIABLE, Admin, MigrateOptions};
use crate::config::{Config, Options};
use crate::error::{Error, Result};

const CONNECTION: [&str; 4] = ["url", "ca", "allowInsecure", "timeoutMs"];
const MIGRATE: [&str; 9] =
    ["url", "ca", "allowInsecure", "timeoutMs", "to", "batch", "pauseMs", "lockWaitMs", "reapply"];
const DOCTOR: [&str; 6] = ["url", "ca", "allowInsecure", "timeoutMs", "serviceUrl", "full"];

/// Applies what is missing of 002 to 004, as `app-secrets migrate` does, and tells how it goes. Done already is fine;
/// where another migrator is at work, it waits for that one. Never drops plaintext.
///
/// Rejects with `LOCK_TIMEOUT`, `VERIFICATION_FAILED` or `REFUSED` where it gives up; call it again, it goes on where it
/// stopped. What `onProgress` throws becomes a process warning.
#[napi(
    ts_args_type = "options?: MigrateOptions | null, onProgress?: (event: MigrateEvent) => unknown",
    ts_return_type = "Promise<MigrateResult>"
)]
pub fn migrate<'env>(env: &'env Env, options: Unknown, on_progress: Unknown) -> Promise<'env> {
    let prepared = admin(env, &options, &MIGRATE)
        .and_then(|admin| Ok((admin, migrate_options(&options)?, Reporter::new(&on_progress)?)));
    settle(env, async move {
        let (admin, options, reporter) = prepared?;
        let (control, events) = reporter.control();
        let (outcome, ()) = tokio::join!(async move { admin.migrate(&options, &control).await }, events);
        Ok(MigrateResult::from(outcome?))
    })
}

/// Proves that every plaintext value is in Vault, and that nothing there is broken. Counts and ids only.
///
/// Resolves also where it finds faults: look at `verified`.
#[napi(ts_args_type = "options?: AdminOptions | null", ts_return_type = "Promise<Verification>")]
pub fn verify<'env>(env: &'env Env, options: Unknown) -> Promise<'env> {
    let admin = admin(env, &options, &CONNECTION);
    settle(env, async move { Ok(Verification::from(admin?.verify().await?)) })
}

/// Says what is applied, how far the backfill is, and what comes next. Only looks.
#[napi(ts_args_type = "options?: AdminOptions | null", ts_return_type = "Promise<MigrationStatus>")]
pub fn status<'env>(env: &'env Env, options: Unknown) -> Promise<'env> {
    let admin = admin(env, &options, &CONNECTION);
    settle(env, async move { Ok(Status::from(admin?.status().await?)) })
}

/// Checks everything that keeps the secrets safe. Only looks.
///
/// Resolves also where checks fail: look at `healthy`.
#[napi(ts_args_type = "options?: DoctorOptions | null", ts_return_type = "Promise<DoctorReport>")]
pub fn doctor<'env>(env: &'env Env, options: Unknown) -> Promise<'env> {
    let prepared = admin(env, &options, &DOCTOR)
        .and_then(|admin| Ok((admin, service(env, &options)?, is_full(&options)?)));
    settle(env, async move {
        let (admin, service, full) = prepared?;
        Ok(DoctorReport::from(admin.doctor(service.as_ref(), full).await?))
    })
}

fn admin(env: &Env, argument: &Unknown, known: &[&str]) -> Result<Admin> {
    let given = object(argument, "options", known)?;
    let url = given.map(|object| text(object, "url")).transpose()?.flatten();
    let url = url.or_else(|| options::variable(env, ADMIN_URL_VARIABLE).filter(|url| !url.trim().is_empty()));
    let url = url.ok_or_else(|| {
        Error::Config(format!(
            "no connection for the migration role: pass `url`, or set {ADMIN_URL_VARIABLE}"
        ))
    })?;
    Ok(Admin::new(config(given, url)?))
}

/// The connection of these options, to another place.
fn config(given: Option<&Unknown>, url: String) -> Result<Config> {
    let mut options = Options { url: Some(url.into()), ..Options::default() };
    if let Some(object) = given {
        options.ca = text(object, "ca")?;
        options.allow_insecure = options::boolean(object, "allowInsecure")?.unwrap_or_default();
        options.timeout_ms = whole(object, "timeoutMs")?;
    }
    Config::new(options, |_| None)
}

fn migrate_options(argument: &Unknown) -> Result<MigrateOptions> {
    let mut options = MigrateOptions::default();
    if js::is_absent(argument) {
        return Ok(options);
    }
    if let Some(to) = whole(argument, "to")? {
        options.to = i32::try_from(to).map_err(|_| invalid("to must be 2, 3 or 4"))?;
    }
    options.batch = whole(argument, "batch")?.unwrap_or(options.batch);
    let milliseconds =
        |name| Ok::<_, Error>(whole(argument, name)?.map(|ms| Duration::from_millis(ms.into())));
    options.pause = milliseconds("pauseMs")?.unwrap_or(options.pause);
    options.lock_wait = milliseconds("lockWaitMs")?.unwrap_or(options.lock_wait);
    options.reapply = options::boolean(argument, "reapply")?.unwrap_or_default();
    Ok(options)
}

fn is_full(argument: &Unknown) -> Result<bool> {
    if js::is_absent(argument) {
        return Ok(false);
    }
    Ok(options::boolean(argument, "full")?.unwrap_or_default())
}

fn service(env: &Env, argument: &Unknown) -> Result<Option<Config>> {
    let given = object(argument, "options", &DOCTOR)?;
    let url = given.map(|object| text(object, "serviceUrl")).transpose()?.flatten();
    let url = url.or_else(|| options::variable(env, "APP_SECRETS_URL").filter(|url| !url.trim().is_empty()));
    url.map(|url| config(given, url)).transpose()
}
