//! The migration role's calls: what the command line does, from code.

use std::path::Path;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;
use tokio::sync::mpsc;

use super::admin_json as json;
use super::answer::Answer;
use super::json::answer;
use super::options::{boolean, text, whole};
use super::thread::{Reporter, Thread, Work};
use super::{js, outbox};
use crate::admin::{Admin, Control, MigrateOptions, default_sessions, wanted_catalogue};
use crate::config::{Config, Options};
use crate::error::{Error, Result};

/// `admin(op, options, callback, onProgress)`: `op` is `migrate`, `status`, `verify` or `doctor`. Tells `callback(null, json)`,
/// and `onProgress(json)` of each event of a migration.
#[allow(clippy::needless_pass_by_value, reason = "napi converts arguments into owned values")]
#[napi(catch_unwind)]
pub fn admin(
    env: &Env,
    op: String,
    options: Unknown,
    callback: Unknown,
    on_progress: Unknown,
) -> napi::Result<()> {
    let work = begin(env, &op, &options, &on_progress);
    Thread::run(env, &callback, work)
}

fn begin(env: &Env, op: &str, options: &Unknown, on_progress: &Unknown) -> Result<Work> {
    let url = text(options, "url")?.ok_or_else(|| js::unexpected("url"))?;
    let admin = Admin::new(config(options, url)?).with_catalogue(catalogue(op, options)?);
    Ok(match op {
        "migrate" => {
            let options = migrate_options(options)?;
            let reporter = Reporter::new(env, on_progress).map_err(|_| outbox::internal())?;
            Box::pin(async move { migrate(&admin, &options, reporter).await })
        }
        "status" => Box::pin(async move { answer(json::status(&admin.status().await?)) }),
        "verify" => {
            let sessions = whole(options, "sessions")?.unwrap_or_else(default_sessions);
            Box::pin(async move {
                // Nobody stops it.
                let found = admin.verify(sessions, &Control::silent()).await?.ok_or(Error::Closed)?;
                answer(found.to_json())
            })
        }
        "doctor" => {
            let service = text(options, "serviceUrl")?.map(|url| config(options, url)).transpose()?;
            let is_full = boolean(options, "full")?.unwrap_or_default();
            Box::pin(async move { answer(json::report(&admin.doctor(service.as_ref(), is_full).await?)) })
        }
        _ => return Err(js::unexpected("the operation")),
    })
}

async fn migrate(admin: &Admin, options: &MigrateOptions, reporter: Reporter) -> Result<Answer> {
    let (sender, mut events) = mpsc::unbounded_channel();
    let (control, _) = Control::new(move |event| drop(sender.send(json::event(event))));
    let telling = async move {
        while let Some(event) = events.recv().await {
            reporter.tell(Answer::Text(event.to_string())).await;
        }
    };
    // The control ends with the migration, and the telling with the control.
    let (outcome, ()) = tokio::join!(
        async move {
            let outcome = admin.migrate(options, &control).await;
            drop(control);
            outcome
        },
        telling
    );
    answer(json::migrated(&outcome?))
}

/// Which secrets are wanted, for what asks for it before the database knows.
fn catalogue(op: &str, options: &Unknown) -> Result<Option<String>> {
    if op == "verify" {
        return Ok(None);
    }
    wanted_catalogue(text(options, "config")?.as_deref().map(Path::new))
}

/// The connection of these options, to another place.
fn config(options: &Unknown, url: String) -> Result<Config> {
    let options = Options {
        url: Some(url.into()),
        ca: text(options, "ca")?,
        allow_insecure: boolean(options, "allowInsecure")?.unwrap_or_default(),
        timeout_ms: whole(options, "timeoutMs")?,
        ..Options::default()
    };
    Config::new(options, |_| None)
}

fn migrate_options(argument: &Unknown) -> Result<MigrateOptions> {
    let mut options = MigrateOptions::default();
    if let Some(to) = whole(argument, "to")? {
        options.to = i32::try_from(to).map_err(|_| Error::InvalidArgument("to must be 2, 3 or 4".into()))?;
    }
    options.batch = whole(argument, "batch")?.unwrap_or(options.batch);
    options.sessions = whole(argument, "sessions")?.unwrap_or(options.sessions);
    let milliseconds =
        |name| Ok::<_, Error>(whole(argument, name)?.map(|ms| Duration::from_millis(ms.into())));
    options.pause = milliseconds("pauseMs")?.unwrap_or(options.pause);
    options.lock_wait = milliseconds("lockWaitMs")?.unwrap_or(options.lock_wait);
    options.reapply = boolean(argument, "reapply")?.unwrap_or_default();
    Ok(options)
}
