//! What each consumer asks for, as methods of the class. Every one is a single round trip.

use napi::Env;
use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

use super::calls;
use super::secrets::Secrets;
use super::settle::Promise;

#[napi]
impl Secrets {
    /// The key of one provider of language models, or null where it is not set.
    #[napi(
        ts_args_type = "businessId: string, provider: Provider",
        ts_return_type = "Promise<string | null>"
    )]
    pub fn get_provider_key<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        provider: Unknown,
    ) -> Promise<'env> {
        calls::get_provider_key(env, self.client(), &business_id, &provider)
    }

    /// Sets or clears the key of one provider and resolves with its version.
    #[napi(
        ts_args_type = "businessId: string, provider: Provider, key: string | null",
        ts_return_type = "Promise<number>"
    )]
    pub fn set_provider_key<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        provider: Unknown,
        key: Unknown,
    ) -> Promise<'env> {
        calls::set_provider_key(env, self.client(), &business_id, &provider, &key)
    }

    /// The keys of Gemini and Grok.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<BusinessApiKeys>")]
    pub fn get_business_api_keys<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_business_api_keys(env, self.client(), &business_id)
    }

    /// Both of Kling's keys, of one moment, or null where either is not set.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<KlingCredentials | null>")]
    pub fn get_kling_credentials<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_kling_credentials(env, self.client(), &business_id)
    }

    /// Sets or clears both of Kling's keys, together, and resolves with their versions.
    #[napi(
        ts_args_type = "businessId: string, credentials: KlingCredentials | null",
        ts_return_type = "Promise<{ kling_access_key: number; kling_secret_key: number }>"
    )]
    pub fn set_kling_credentials<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        credentials: Unknown,
    ) -> Promise<'env> {
        calls::set_kling_credentials(env, self.client(), &business_id, &credentials)
    }

    /// The key of the YouTube Data API, or null where it is not set.
    #[napi(
        js_name = "getYouTubeApiKey",
        ts_args_type = "businessId: string",
        ts_return_type = "Promise<string | null>"
    )]
    pub fn get_youtube_api_key<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_youtube_api_key(env, self.client(), &business_id)
    }

    /// Sets or clears the key of the YouTube Data API and resolves with its version.
    #[napi(
        js_name = "setYouTubeApiKey",
        ts_args_type = "businessId: string, key: string | null",
        ts_return_type = "Promise<number>"
    )]
    pub fn set_youtube_api_key<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        key: Unknown,
    ) -> Promise<'env> {
        calls::set_youtube_api_key(env, self.client(), &business_id, &key)
    }

    /// The key to send text messages, or null where it is not set.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<string | null>")]
    pub fn get_sms_api_key<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_sms_api_key(env, self.client(), &business_id)
    }

    /// Sets or clears the key to send text messages and resolves with its version.
    #[napi(ts_args_type = "businessId: string, key: string | null", ts_return_type = "Promise<number>")]
    pub fn set_sms_api_key<'env>(&self, env: &'env Env, business_id: Unknown, key: Unknown) -> Promise<'env> {
        calls::set_sms_api_key(env, self.client(), &business_id, &key)
    }

    /// The key of WhatsApp, or null where it is not set.
    #[napi(
        js_name = "getWhatsAppApiKey",
        ts_args_type = "businessId: string",
        ts_return_type = "Promise<string | null>"
    )]
    pub fn get_whatsapp_api_key<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_whatsapp_api_key(env, self.client(), &business_id)
    }

    /// Sets or clears the key of WhatsApp and resolves with its version.
    #[napi(
        js_name = "setWhatsAppApiKey",
        ts_args_type = "businessId: string, key: string | null",
        ts_return_type = "Promise<number>"
    )]
    pub fn set_whatsapp_api_key<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        key: Unknown,
    ) -> Promise<'env> {
        calls::set_whatsapp_api_key(env, self.client(), &business_id, &key)
    }

    /// What is kept of the Google grant, or null where neither token is set.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<GoogleTokens | null>")]
    pub fn get_google_tokens<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_google_tokens(env, self.client(), &business_id)
    }

    /// Changes what is given of the Google grant, leaves the rest, and resolves with the versions of what was given.
    #[napi(
        ts_args_type = "businessId: string, tokens: GoogleTokensUpdate",
        ts_return_type = "Promise<{ [name in SecretName]?: number }>"
    )]
    pub fn set_google_tokens<'env>(
        &self,
        env: &'env Env,
        business_id: Unknown,
        tokens: Unknown,
    ) -> Promise<'env> {
        calls::set_google_tokens(env, self.client(), &business_id, &tokens)
    }

    /// What a settings page may show of every integration: never a value.
    #[napi(ts_args_type = "businessId: string", ts_return_type = "Promise<IntegrationStatus>")]
    pub fn get_integration_status<'env>(&self, env: &'env Env, business_id: Unknown) -> Promise<'env> {
        calls::get_integration_status(env, self.client(), &business_id)
    }
}
