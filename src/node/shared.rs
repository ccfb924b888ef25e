//! The same functions on one client that they share, so that a service needs one line.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::environment::Environment;
use super::settle::{Promise, settle};
use super::stats::Stats;
use super::watch::{self, Watcher};
use super::{calls, js, options, runtime};
use crate::client::Client;
use crate::config::{Config, Options};
use crate::error::{Error, Result};

/// The shared client, made from the environment on first use. Where that fails the next call tries again.
fn client(env: &Env) -> Result<Client> {
    let lost = |_| Error::unavailable("the JavaScript thread is ending");
    let shared = &mut Environment::of(env).map_err(lost)?.shared;
    if let Some(client) = shared {
        return Ok(client.clone());
    }
    let config = Config::new(Options::default(), |name| options::variable(env, name))?;
    let _runtime = runtime::handle()?.enter();
    Ok(shared.insert(Client::new(config)).clone())
}

/// Reads one secret. Resolves with null only where it is not set. As `Secrets.get`, on the shared client.
#[napi(ts_args_type = "businessId: string, name: SecretName", ts_return_type = "Promise<string | null>")]
pub fn get<'env>(env: &'env Env, business_id: Unknown, name: Unknown) -> Promise<'env> {
    calls::get(env, client(env), &business_id, &name)
}

/// Reads several secrets of one business, in one round trip and one snapshot. As `Secrets.getMany`, on the shared client.
#[napi(
    ts_generic_types = "N extends SecretName",
    ts_args_type = "businessId: string, names: readonly N[]",
    ts_return_type = "Promise<Record<N, string | null>>"
)]
pub fn get_many<'env>(env: &'env Env, business_id: Unknown, names: Unknown) -> Promise<'env> {
    calls::get_many(env, client(env), &business_id, &names)
}

/// Writes one secret and resolves with its version. Null or a blank value clears it; white space around it is trimmed. As `Secrets.set`, on the shared client.
#[napi(
    ts_args_type = "businessId: string, name: SecretName, value: string | null, options?: SetOptions",
    ts_return_type = "Promise<number>"
)]
pub fn set<'env>(
    env: &'env Env,
    business_id: Unknown,
    name: Unknown,
    value: Unknown,
    options: Unknown,
) -> Promise<'env> {
    calls::set(env, client(env), &business_id, &name, &value, &options)
}

/// Writes several secrets of one business, all or none, and resolves with their versions. As `Secrets.setMany`, on the shared client.
#[napi(
    ts_generic_types = "N extends SecretName",
    ts_args_type = "businessId: string, values: Readonly<Record<N, string | null>>, options?: SetManyOptions",
    ts_return_type = "Promise<Record<N, number>>"
)]
pub fn set_many<'env>(
    env: &'env Env,
    business_id: Unknown,
    values: Unknown,
    options: Unknown,
) -> Promise<'env> {
    calls::set_many(env, client(env), &business_id, &values, &options)
}

/// Clears one secret and resolves with its version. As `Secrets.delete`, on the shared client.
#[napi(
    js_name = "deleteSecret",
    ts_args_type = "businessId: string, name: SecretName, options?: SetOptions",
    ts_return_type = "Promise<number>"
)]
pub fn delete_secret<'env>(
    env: &'env Env,
    business_id: Unknown,
    name: Unknown,
    options: Unknown,
) -> Promise<'env> {
    calls::delete(env, client(env), &business_id, &name, &options)
}

/// Lists what may be shown of all twelve secrets: never a value. As `Secrets.list`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<ListedSecret[]>")]
pub fn list<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::list(env, client(env), &business_id)
}

/// The key of one provider of language models, or null where it is not set. As `Secrets.getProviderKey`, on the shared client.
#[napi(ts_args_type = "businessId: string, provider: Provider", ts_return_type = "Promise<string | null>")]
pub fn get_provider_key<'env>(env: &'env Env, business_id: Unknown, provider: Unknown) -> Promise<'env> {
    calls::get_provider_key(env, client(env), &business_id, &provider)
}

/// Sets or clears the key of one provider and resolves with its version. As `Secrets.setProviderKey`, on the shared client.
#[napi(
    ts_args_type = "businessId: string, provider: Provider, key: string | null",
    ts_return_type = "Promise<number>"
)]
pub fn set_provider_key<'env>(
    env: &'env Env,
    business_id: Unknown,
    provider: Unknown,
    key: Unknown,
) -> Promise<'env> {
    calls::set_provider_key(env, client(env), &business_id, &provider, &key)
}

/// The keys of Gemini and Grok. As `Secrets.getBusinessApiKeys`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<BusinessApiKeys>")]
pub fn get_business_api_keys<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_business_api_keys(env, client(env), &business_id)
}

/// Both of Kling's keys, of one moment, or null where either is not set. As `Secrets.getKlingCredentials`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<KlingCredentials | null>")]
pub fn get_kling_credentials<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_kling_credentials(env, client(env), &business_id)
}

/// Sets or clears both of Kling's keys, together, and resolves with their versions. As `Secrets.setKlingCredentials`, on the shared client.
#[napi(
    ts_args_type = "businessId: string, credentials: KlingCredentials | null",
    ts_return_type = "Promise<{ kling_access_key: number; kling_secret_key: number }>"
)]
pub fn set_kling_credentials<'env>(
    env: &'env Env,
    business_id: Unknown,
    credentials: Unknown,
) -> Promise<'env> {
    calls::set_kling_credentials(env, client(env), &business_id, &credentials)
}

/// The key of the YouTube Data API, or null where it is not set. As `Secrets.getYouTubeApiKey`, on the shared client.
#[napi(
    js_name = "getYouTubeApiKey",
    ts_args_type = "businessId: string",
    ts_return_type = "Promise<string | null>"
)]
pub fn get_youtube_api_key<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_youtube_api_key(env, client(env), &business_id)
}

/// Sets or clears the key of the YouTube Data API and resolves with its version. As `Secrets.setYouTubeApiKey`, on the shared client.
#[napi(
    js_name = "setYouTubeApiKey",
    ts_args_type = "businessId: string, key: string | null",
    ts_return_type = "Promise<number>"
)]
pub fn set_youtube_api_key<'env>(env: &'env Env, business_id: Unknown, key: Unknown) -> Promise<'env> {
    calls::set_youtube_api_key(env, client(env), &business_id, &key)
}

/// The key to send text messages, or null where it is not set. As `Secrets.getSmsApiKey`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<string | null>")]
pub fn get_sms_api_key<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_sms_api_key(env, client(env), &business_id)
}

/// Sets or clears the key to send text messages and resolves with its version. As `Secrets.setSmsApiKey`, on the shared client.
#[napi(ts_args_type = "businessId: string, key: string | null", ts_return_type = "Promise<number>")]
pub fn set_sms_api_key<'env>(env: &'env Env, business_id: Unknown, key: Unknown) -> Promise<'env> {
    calls::set_sms_api_key(env, client(env), &business_id, &key)
}

/// The key of WhatsApp, or null where it is not set. As `Secrets.getWhatsAppApiKey`, on the shared client.
#[napi(
    js_name = "getWhatsAppApiKey",
    ts_args_type = "businessId: string",
    ts_return_type = "Promise<string | null>"
)]
pub fn get_whatsapp_api_key<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_whatsapp_api_key(env, client(env), &business_id)
}

/// Sets or clears the key of WhatsApp and resolves with its version. As `Secrets.setWhatsAppApiKey`, on the shared client.
#[napi(
    js_name = "setWhatsAppApiKey",
    ts_args_type = "businessId: string, key: string | null",
    ts_return_type = "Promise<number>"
)]
pub fn set_whatsapp_api_key<'env>(env: &'env Env, business_id: Unknown, key: Unknown) -> Promise<'env> {
    calls::set_whatsapp_api_key(env, client(env), &business_id, &key)
}

/// What is kept of the Google grant, or null where neither token is set. As `Secrets.getGoogleTokens`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<GoogleTokens | null>")]
pub fn get_google_tokens<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_google_tokens(env, client(env), &business_id)
}

/// Changes what is given of the Google grant, leaves the rest, and resolves with the versions of what was given. As `Secrets.setGoogleTokens`, on the shared client.
#[napi(
    ts_args_type = "businessId: string, tokens: GoogleTokensUpdate",
    ts_return_type = "Promise<{ [name in SecretName]?: number }>"
)]
pub fn set_google_tokens<'env>(env: &'env Env, business_id: Unknown, tokens: Unknown) -> Promise<'env> {
    calls::set_google_tokens(env, client(env), &business_id, &tokens)
}

/// What a settings page may show of every integration: never a value. As `Secrets.getIntegrationStatus`, on the shared client.
#[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<IntegrationStatus>")]
pub fn get_integration_status<'env>(env: &'env Env, business_id: Unknown) -> Promise<'env> {
    calls::get_integration_status(env, client(env), &business_id)
}

/// Calls back with every change that matches the filter, whoever makes it. As `Secrets.watch`, on the shared client.
#[napi(
    ts_args_type = "filter: WatchFilter | null | undefined, callback: (event: ChangedEvent | ResyncEvent) => unknown"
)]
pub fn watch(env: &Env, filter: Unknown, callback: Unknown) -> napi::Result<Watcher> {
    watch::start(env, client(env), &filter, &callback)
}

/// What the shared client has done so far, and what it is doing. As `Secrets.stats`. Throws where it cannot be made.
#[napi]
pub fn stats(env: &Env) -> napi::Result<Stats> {
    match client(env) {
        Ok(client) => Ok(client.stats().into()),
        Err(error) => Err(js::error(env, &error).into()),
    }
}

/// Asks the database of the shared client for a sign of life.
#[napi(ts_return_type = "Promise<void>")]
pub fn ping(env: &Env) -> Promise<'_> {
    calls::ping(env, client(env))
}

/// Closes the shared client. The next call of a function of the module makes a new one.
#[napi(ts_return_type = "Promise<void>")]
pub fn close(env: &Env) -> Promise<'_> {
    match Environment::of(env)?.shared.take() {
        Some(client) => calls::close(env, Ok(client)),
        None => settle(env, async { Ok(()) }),
    }
}
