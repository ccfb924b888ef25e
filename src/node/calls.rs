//! What the class and the module have in common: read the arguments, call the core, convert what comes back.

use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::Unknown;
use secrecy::SecretString;
use uuid::Uuid;

use super::arguments as argument;
use super::js;
use super::results::{Plain, Shared, Values, Versions};
use super::settle::{Promise, at_once, settle};
use super::types::{BusinessApiKeys, GoogleTokens, IntegrationStatus, KlingCredentials, ListedSecret};
use crate::name::SecretName;
use crate::client::Client;
use crate::consumers::Provider;
use crate::error::Result;
use crate::value;

/// The client and the business, or why there is none.
fn target(client: Result<Client>, business: &Unknown) -> Result<(Client, Uuid)> {
    Ok((client?, argument::business_id(business)?))
}

/// What the cache knows. Whatever is wrong is left for the long way to say.
#[expect(clippy::option_option, reason = "known or not, and if so, set or not")]
fn cached(
    client: &Result<Client>,
    business: &Unknown,
    name: impl FnOnce() -> Option<SecretName>,
) -> Option<Option<Arc<SecretString>>> {
    let client = client.as_ref().ok().filter(|client| client.is_caching())?;
    let business = js::short(business, |id| value::business_id(id).ok())?;
    client.cached(business, name()?)
}

fn get_one<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    name: SecretName,
) -> Promise<'env> {
    if let Some(value) = cached(&client, business, || Some(name)) {
        return at_once(env, value.map(Shared));
    }
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.get(business, name).await?.map(Plain))
    })
}

fn set_one<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    name: SecretName,
    key: &Unknown,
) -> Promise<'env> {
    let (target, key) = (target(client, business), argument::secret_value(key));
    settle(env, async move {
        let (client, business) = target?;
        client.set(business, name, key?, None).await
    })
}

pub(super) fn get<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    name: &Unknown,
) -> Promise<'env> {
    if let Some(value) = cached(&client, business, || js::short(name, |name| name.parse().ok())) {
        return at_once(env, value.map(Shared));
    }
    let (target, name) = (target(client, business), argument::secret_name(name));
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.get(business, name?).await?.map(Plain))
    })
}

pub(super) fn get_many<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    names: &Unknown,
) -> Promise<'env> {
    let (target, names) = (target(client, business), argument::secret_names(names));
    settle(env, async move {
        let (client, business) = target?;
        client.get_many(business, names?).await.map(Values)
    })
}

pub(super) fn set<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    name: &Unknown,
    value: &Unknown,
    options: &Unknown,
) -> Promise<'env> {
    let (target, name, value, expected) = (
        target(client, business),
        argument::secret_name(name),
        argument::secret_value(value),
        argument::expected_version(options),
    );
    settle(env, async move {
        let (client, business) = target?;
        client.set(business, name?, value?, expected?).await
    })
}

pub(super) fn set_many<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    values: &Unknown,
    options: &Unknown,
) -> Promise<'env> {
    let (target, values, expected) =
        (target(client, business), argument::values(values), argument::expected_versions(options));
    settle(env, async move {
        let (client, business) = target?;
        client.set_many(business, values?, expected?).await.map(Versions)
    })
}

pub(super) fn delete<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    name: &Unknown,
    options: &Unknown,
) -> Promise<'env> {
    let (target, name, expected) =
        (target(client, business), argument::secret_name(name), argument::expected_version(options));
    settle(env, async move {
        let (client, business) = target?;
        client.delete(business, name?, expected?).await
    })
}

pub(super) fn list<'env>(env: &'env Env, client: Result<Client>, business: &Unknown) -> Promise<'env> {
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.list(business).await?.into_iter().map(ListedSecret::from).collect::<Vec<_>>())
    })
}

pub(super) fn get_provider_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    provider: &Unknown,
) -> Promise<'env> {
    let name = || js::short(provider, |provider| provider.parse().ok()).map(Provider::secret);
    if let Some(value) = cached(&client, business, name) {
        return at_once(env, value.map(Shared));
    }
    let (target, provider) = (target(client, business), argument::provider(provider));
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.provider_key(business, provider?).await?.map(Plain))
    })
}

pub(super) fn set_provider_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    provider: &Unknown,
    key: &Unknown,
) -> Promise<'env> {
    let (target, provider, key) =
        (target(client, business), argument::provider(provider), argument::secret_value(key));
    settle(env, async move {
        let (client, business) = target?;
        client.set_provider_key(business, provider?, key?).await
    })
}

pub(super) fn get_business_api_keys<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        client.business_api_keys(business).await.map(BusinessApiKeys::from)
    })
}

pub(super) fn get_kling_credentials<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.kling_credentials(business).await?.map(KlingCredentials::from))
    })
}

pub(super) fn set_kling_credentials<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    credentials: &Unknown,
) -> Promise<'env> {
    let (target, credentials) = (target(client, business), argument::kling_credentials(credentials));
    settle(env, async move {
        let (client, business) = target?;
        client.set_kling_credentials(business, credentials?).await.map(Versions)
    })
}

pub(super) fn get_youtube_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    get_one(env, client, business, SecretName::YoutubeApiKey)
}

pub(super) fn set_youtube_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    key: &Unknown,
) -> Promise<'env> {
    set_one(env, client, business, SecretName::YoutubeApiKey, key)
}

pub(super) fn get_sms_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    get_one(env, client, business, SecretName::GlobalSmsApiKey)
}

pub(super) fn set_sms_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    key: &Unknown,
) -> Promise<'env> {
    set_one(env, client, business, SecretName::GlobalSmsApiKey, key)
}

pub(super) fn get_whatsapp_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    get_one(env, client, business, SecretName::WhatsappApiKey)
}

pub(super) fn set_whatsapp_api_key<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    key: &Unknown,
) -> Promise<'env> {
    set_one(env, client, business, SecretName::WhatsappApiKey, key)
}

pub(super) fn get_google_tokens<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        Ok(client.google_tokens(business).await?.map(GoogleTokens::from))
    })
}

pub(super) fn set_google_tokens<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
    tokens: &Unknown,
) -> Promise<'env> {
    let (target, tokens) = (target(client, business), argument::google_tokens(tokens));
    settle(env, async move {
        let (client, business) = target?;
        client.set_google_tokens(business, tokens?).await.map(Versions)
    })
}

pub(super) fn get_integration_status<'env>(
    env: &'env Env,
    client: Result<Client>,
    business: &Unknown,
) -> Promise<'env> {
    let target = target(client, business);
    settle(env, async move {
        let (client, business) = target?;
        client.integration_status(business).await.map(IntegrationStatus::from)
    })
}

pub(super) fn ping(env: &Env, client: Result<Client>) -> Promise<'_> {
    settle(env, async move { client?.ping().await })
}

pub(super) fn close(env: &Env, client: Result<Client>) -> Promise<'_> {
    settle(env, async move {
        client?.close().await;
        Ok(())
    })
}
