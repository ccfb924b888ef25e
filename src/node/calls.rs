//! The operations of `NativeClient.call`.

use std::time::Duration;

use napi::bindgen_prelude::Unknown;
use secrecy::SecretString;
use uuid::Uuid;

use super::answer::Answer;
use super::js::{self, Text, unexpected};
use super::json;
use super::thread::Work;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::name::{NameSet, SecretName};
use crate::secret::versions_by_name;
use crate::value;

/// Reads the arguments, and begins nothing yet.
pub(super) fn call(client: &Client, op: &str, arguments: &Unknown) -> Result<Work> {
    let (client, arguments) = (client.clone(), Arguments(js::elements(arguments)?));
    Ok(match op {
        "getMany" => {
            let (business, names) = (arguments.business()?, arguments.names(1)?);
            let is_fresh = js::boolean(arguments.at(2)?).unwrap_or_default();
            Box::pin(async move { get_many(&client, business, &names, is_fresh).await })
        }
        "set" => {
            let (business, names) = (arguments.business()?, arguments.names(1)?);
            let values = arguments.list(2, secret_value)?;
            let expected = arguments.list(3, |version| Ok(js::whole(version)))?;
            let options = js::plain(arguments.at(4)?);
            Box::pin(async move {
                let expected = names.iter().copied().zip(expected).filter_map(|(name, at)| Some((name, at?)));
                let (values, expected) = (names.iter().copied().zip(values).collect(), expected.collect());
                let versions = client.write(business, values, expected, options).await?;
                json::answer(versions_by_name(&versions))
            })
        }
        "list" => {
            let business = arguments.business()?;
            Box::pin(async move { json::answer(client.list(business).await?) })
        }
        "undo" => {
            let (business, name) = (arguments.business()?, arguments.name(1)?);
            let expected = js::whole(arguments.at(2)?);
            Box::pin(async move { Ok(Answer::Number(client.undo(business, name, expected).await?)) })
        }
        "lease" => {
            let (business, name, ttl) = (arguments.business()?, arguments.name(1)?, arguments.duration(2)?);
            Box::pin(async move { json::answer(client.lease(business, name, ttl).await?) })
        }
        "release" => {
            let (business, name, token) = (arguments.business()?, arguments.name(1)?, arguments.uuid(2)?);
            Box::pin(async move { Ok(Answer::Boolean(client.release(business, name, token).await?)) })
        }
        "check" => {
            let (business, name) = (arguments.business()?, arguments.name(1)?);
            let version = js::whole(arguments.at(2)?).ok_or_else(|| unexpected("a version"))?;
            let result = js::plain(arguments.at(3)?).ok_or_else(|| unexpected("a result"))?;
            Box::pin(async move { Ok(Answer::Boolean(client.check(business, name, version, result).await?)) })
        }
        "due" => {
            let within = arguments.duration(0)?;
            Box::pin(async move { json::answer(client.due(within).await?) })
        }
        "names" => Box::pin(async move { json::answer(client.names().await?) }),
        "ping" => Box::pin(async move { client.ping().await.map(|()| Answer::Nothing) }),
        "close" => Box::pin(async move {
            client.close().await;
            Ok(Answer::Nothing)
        }),
        _ => return Err(unexpected("the operation")),
    })
}

/// In the order in which they are asked for.
async fn get_many(client: &Client, business: Uuid, names: &[SecretName], is_fresh: bool) -> Result<Answer> {
    let set: NameSet = names.iter().copied().collect();
    let mut values = if is_fresh {
        client.get_many_fresh(business, set).await?
    } else {
        client.get_many(business, set).await?
    };
    let mut take = |name: &SecretName| {
        values.iter_mut().find(|(read, _)| read == name).and_then(|(_, value)| value.take())
    };
    // A name that stands there twice is taken once: lib leaves such doubles out.
    Ok(Answer::Values(names.iter().map(&mut take).collect()))
}

struct Arguments<'env>(Vec<Unknown<'env>>);

impl<'env> Arguments<'env> {
    fn at(&self, at: usize) -> Result<&Unknown<'env>> {
        self.0.get(at).ok_or_else(|| unexpected("the number of arguments"))
    }

    fn business(&self) -> Result<Uuid> {
        business(self.at(0)?)
    }

    fn uuid(&self, at: usize) -> Result<Uuid> {
        js::short(self.at(at)?, |text| text.parse().ok()).ok_or_else(|| unexpected("a uuid"))
    }

    fn name(&self, at: usize) -> Result<SecretName> {
        name(self.at(at)?)
    }

    fn names(&self, at: usize) -> Result<Vec<SecretName>> {
        self.list(at, name)
    }

    fn list<T>(&self, at: usize, read: impl Fn(&Unknown) -> Result<T>) -> Result<Vec<T>> {
        js::elements(self.at(at)?)?.iter().map(read).collect()
    }

    /// Of milliseconds.
    fn duration(&self, at: usize) -> Result<Duration> {
        let ms = js::whole(self.at(at)?).and_then(|ms| u64::try_from(ms).ok());
        ms.map(Duration::from_millis).ok_or_else(|| unexpected("a time"))
    }
}

pub(super) fn business(argument: &Unknown) -> Result<Uuid> {
    js::short(argument, |text| value::business_id(text).ok()).ok_or_else(value::not_a_business_id)
}

pub(super) fn name(argument: &Unknown) -> Result<SecretName> {
    js::short(argument, |text| text.parse().ok()).ok_or_else(|| Error::from(crate::name::NotAName))
}

/// A string, or null to clear.
fn secret_value(argument: &Unknown) -> Result<Option<SecretString>> {
    if js::is_absent(argument) {
        return Ok(None);
    }
    let refuse = |why: &str| Err(Error::InvalidValue { why: format!("the value {why}") });
    match js::text(argument, value::MAX_UNTRIMMED) {
        Text::NotAString => refuse("must be a string, or null to clear it"),
        Text::TooLong => refuse(
            "is longer than 1,048,576 characters, white space included; a key has at most 65,536 bytes of UTF-8",
        ),
        Text::NotUnicode => refuse("is not Unicode: it holds half a surrogate pair"),
        Text::Plain(text) => value::normalise(&text),
    }
}
